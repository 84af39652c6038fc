//! Engines with a bench of their own: text only, and not interleaved with Kiln, so their ratios say less.

use super::args::Args;
use super::{Result, workload::Workload};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Tokens a second, as the engine's own bench says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Speeds {
    /// Of a prompt, all text.
    pub prefill: f64,
    /// Of new tokens.
    pub decode: f64,
}

/// llama.cpp, by `llama-bench`.
///
/// # Errors
/// Where the program cannot be run, fails, or says something else.
pub fn run_llama_cpp(program: &Path, gguf: &Path, args: &Args, workload: &Workload) -> Result<Speeds> {
    let mut command = Command::new(program);
    command.arg("-m").arg(gguf).args(["-o", "json", "-ngl", "0", "-r", &args.rounds.to_string()]);
    command.args(["-p", &workload.prompt_tokens().to_string(), "-n", &workload.new.to_string()]);
    command.args(["-t", &args.thread_count().to_string()]);
    parse_llama_bench(&output(command)?)
}

/// mistral.rs, by `mistralrs-bench`.
///
/// # Errors
/// As [`run_llama_cpp`].
pub fn run_mistral_rs(program: &Path, dir: &Path, args: &Args, workload: &Workload) -> Result<Speeds> {
    let mut command = Command::new(program);
    command.args(["-p", &workload.prompt_tokens().to_string(), "-g", &workload.new.to_string()]);
    command.args(["-r", &args.rounds.to_string(), "plain", "-m"]).arg(dir);
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

/// A list of objects, each a test of a prompt (`n_prompt`) or of new tokens (`n_gen`), with `avg_ts`, tokens a second.
fn parse_llama_bench(text: &str) -> Result<Speeds> {
    let tests: Vec<Value> = serde_json::from_str(text)?;
    let speed = |field: &str| {
        let test = tests.iter().find(|test| test[field].as_u64().is_some_and(|count| count > 0));
        test.and_then(|test| test["avg_ts"].as_f64()).ok_or_else(|| format!("llama-bench told no test with {field}"))
    };
    Ok(Speeds { prefill: speed("n_prompt")?, decode: speed("n_gen")? })
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
    Ok(Speeds { prefill: find("pp")?, decode: find("tg")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_bench_is_read() {
        let text = r#"[{"n_prompt": 512, "n_gen": 0, "avg_ts": 88.5}, {"n_prompt": 0, "n_gen": 32, "avg_ts": 9.25}]"#;
        assert_eq!(parse_llama_bench(text).unwrap(), Speeds { prefill: 88.5, decode: 9.25 });
        for text in ["", "[]", "{}", r#"[{"n_prompt": 512, "avg_ts": 88.5}]"#] {
            assert!(parse_llama_bench(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mistral_bench_is_read() {
        let text = "Loading\n| model | backend | test | t/s | ms/t |\n|---|---|---|---|---|\n| m | CPU | tg 32 | 8.125±0.1 | 1 |\n\
                    | m | CPU | pp 512 | 70.5±2 | 1 |\n";
        assert_eq!(parse_mistral_bench(text).unwrap(), Speeds { prefill: 70.5, decode: 8.125 });
        for text in ["", "| a | b |", "| test | t/s |\n| pp 1 | x |"] {
            assert!(parse_mistral_bench(text).is_err(), "{text}");
        }
    }
}
