//! Engines with a bench of their own: text only, and a process for each round, which loads the model and warms up
//! again.

use super::args::{Args, Dtype, Peer};
use super::runner::Times;
use super::{Result, workload::Workload};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What an engine's own bench says of one round.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Speeds {
    /// Tokens a second of a prompt, all text.
    pub prefill: f64,
    /// New tokens a second.
    pub decode: f64,
    /// What it says of itself.
    pub facts: Vec<String>,
}

impl Speeds {
    /// As seconds: of the new tokens, and of a prompt of text. There is no picture.
    pub fn seconds(&self, workload: &Workload) -> (Times, f64) {
        let decode_s = workload.new as f64 / self.decode;
        let times = Times { vision_s: f64::NAN, prefill_s: f64::NAN, decode_s };
        (times, workload.prompt_tokens() as f64 / self.prefill)
    }
}

/// An engine's program, and its model.
#[derive(Debug, Clone, Copy)]
pub enum Bench<'a> {
    /// `llama-bench`, and a GGUF file.
    LlamaCpp(&'a Path, &'a Path),
    /// `mistralrs-bench`, and the checkpoint's folder.
    MistralRs(&'a Path, &'a Path),
}

impl<'a> Bench<'a> {
    /// That of `peer`.
    ///
    /// # Errors
    /// Where the command line does not name it.
    pub fn find(peer: Peer, args: &'a Args, dir: &'a Path) -> Result<Self> {
        match (peer, &args.llama_cpp, &args.gguf, &args.mistral_rs) {
            (Peer::LlamaCpp, Some(program), Some(gguf), _) => Ok(Self::LlamaCpp(program, gguf)),
            (Peer::LlamaCpp, ..) => Err("--llama-cpp names no program".into()),
            (_, _, _, Some(program)) => Ok(Self::MistralRs(program, dir)),
            _ => Err("--mistral-rs names no program".into()),
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// Where the program cannot be run, fails, or says something else.
    pub fn run(self, args: &Args, workload: &Workload) -> Result<Speeds> {
        match self {
            Self::LlamaCpp(program, gguf) => run_llama_cpp(program, gguf, args, workload),
            Self::MistralRs(program, dir) => run_mistral_rs(program, dir, args, workload),
        }
    }
}

/// llama.cpp, by `llama-bench`: new tokens come behind a cache that a prompt of the same length filled, as they do in
/// the other engines.
fn run_llama_cpp(program: &Path, gguf: &Path, args: &Args, workload: &Workload) -> Result<Speeds> {
    let (prompt, new) = (workload.prompt_tokens().to_string(), workload.new.to_string());
    let run = |test: [&str; 6]| {
        let mut command = Command::new(program);
        command.arg("-m").arg(gguf).args(["-o", "json", "-ngl", "0", "-r", "1"]).args(test);
        command.args(["-t", &args.thread_count().to_string()]);
        if args.dtype == Dtype::F32 {
            // By itself its cache is f16, half of what the other engines read.
            command.args(["-ctk", "f32", "-ctv", "f32"]);
        }
        output(command)
    };
    let (prefill, _) = parse_llama_bench(&run(["-p", &prompt, "-n", "0", "-d", "0"])?, "n_prompt")?;
    let (decode, facts) = parse_llama_bench(&run(["-p", "0", "-n", &new, "-d", &prompt])?, "n_gen")?;
    Ok(Speeds { prefill, decode, facts })
}

/// mistral.rs, by `mistralrs-bench`.
fn run_mistral_rs(program: &Path, dir: &Path, args: &Args, workload: &Workload) -> Result<Speeds> {
    let mut command = Command::new(program);
    command.args(["-p", &workload.prompt_tokens().to_string(), "-g", &workload.new.to_string()]);
    command.args(["-r", "1", "plain", "-m"]).arg(dir);
    command.env("RAYON_NUM_THREADS", args.thread_count().to_string());
    parse_mistral_bench(&output(command)?)
}

fn output(mut command: Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|error| format!("{program} cannot be run: {error}"))?;
    if !done.status.success() {
        let told = String::from_utf8_lossy(&done.stderr);
        let last = told.lines().last().unwrap_or_default();
        return Err(format!("{program} failed ({}): {last}", done.status).into());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A list of objects, each a test of a prompt (`n_prompt`) or of new tokens (`n_gen`): tokens a second (`avg_ts`) of
/// the first of `kind`, and what it ran.
fn parse_llama_bench(text: &str, kind: &str) -> Result<(f64, Vec<String>)> {
    let tests: Vec<Value> = serde_json::from_str(text)?;
    let missing = || format!("llama-bench told no test with {kind}");
    let test = tests.iter().find(|test| test[kind].as_u64().is_some_and(|count| count > 0)).ok_or_else(missing)?;
    let speed = test["avg_ts"].as_f64().filter(|speed| *speed > 0.0).ok_or_else(missing)?;
    let model = test["model_type"].as_str().map(|model| format!("llama.cpp runs {model}"));
    Ok((speed, model.into_iter().collect()))
}

/// A table of Markdown with columns `test` ("pp 512", "tg 32") and `t/s` ("12.3±0.1").
fn parse_mistral_bench(text: &str) -> Result<Speeds> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = text.lines().filter(|line| line.contains('|')).map(cells).collect();
    let head = rows.first().ok_or("mistralrs-bench told no table")?;
    let column = |name: &str| head.iter().position(|cell| cell == name).ok_or(format!("no column `{name}`"));
    let (test, speed) = (column("test")?, column("t/s")?);
    let find = |kind: &str| -> Result<f64> {
        let row = rows.iter().find(|row| row.get(test).is_some_and(|cell| cell.starts_with(kind)));
        let cell = row.and_then(|row| row.get(speed)).ok_or_else(|| format!("mistralrs-bench told no test {kind}"))?;
        Ok(cell.split(['±', ' ']).next().unwrap_or_default().parse()?)
    };
    Ok(Speeds { prefill: find("pp")?, decode: find("tg")?, facts: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn llama_bench_is_read() {
        // What it says that is of use, in its order and form.
        let text = r#"[
          {
            "build_number": 0,
            "model_type": "qwen3vl 1.7B BF16",
            "n_prompt": 0,
            "n_gen": 32,
            "n_depth": 514,
            "avg_ts": 9.250000,
            "stddev_ts": 0.000000,
            "samples_ts": [ 9.25 ]
          }
        ]
        "#;
        let (speed, facts) = parse_llama_bench(text, "n_gen").unwrap();
        assert_eq!((speed, facts), (9.25, vec!["llama.cpp runs qwen3vl 1.7B BF16".to_owned()]));
        for text in ["", "[]", "{}", text, r#"[{"n_prompt": 512}]"#, r#"[{"n_prompt": 512, "avg_ts": 0.0}]"#] {
            assert!(parse_llama_bench(text, "n_prompt").is_err(), "{text}");
        }
    }

    #[test]
    fn speeds_are_seconds_of_the_workload() {
        let workload = Workload { side: 0, merge: 2, patch_dim: 1, text: 64, new: 8, marks: [1; 3], ids: 1 };
        let (times, text_s) = Speeds { prefill: 32.0, decode: 4.0, facts: Vec::new() }.seconds(&workload);
        assert_eq!((times.decode_s, text_s), (2.0, 2.0));
        assert!(times.vision_s.is_nan() && times.prefill_s.is_nan());
    }

    #[test]
    fn programs_are_named_by_the_command_line() {
        let (dir, line) = (Path::new("x"), ["qwen", "--checkpoint", "x"]);
        let named = |more: &[&str], peer| {
            let args = Args::parse_from(line.iter().chain(more));
            Bench::find(peer, &args, dir).map(drop).map_err(|error| error.to_string())
        };
        assert!(named(&[], Peer::LlamaCpp).unwrap_err().contains("--llama-cpp"));
        assert!(named(&[], Peer::MistralRs).unwrap_err().contains("--mistral-rs"));
        assert_eq!(named(&["--llama-cpp", "b", "--gguf", "g"], Peer::LlamaCpp), Ok(()));
        assert_eq!(named(&["--mistral-rs", "b"], Peer::MistralRs), Ok(()));
    }

    #[test]
    fn mistral_bench_is_read() {
        let text = "Loading\n| model | backend | test | t/s | ms/t |\n|---|---|---|---|---|\n| m | CPU | tg 32 | 8.125±0.1 | 1 |\n\
                    | m | CPU | pp 512 | 70.5±2 | 1 |\n";
        assert_eq!(parse_mistral_bench(text).unwrap(), Speeds { prefill: 70.5, decode: 8.125, facts: vec![] });
        for text in ["", "| a | b |", "| test | t/s |\n| pp 1 | x |"] {
            assert!(parse_mistral_bench(text).is_err(), "{text}");
        }
    }
}
