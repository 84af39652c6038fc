//! A run as text: where it was measured, the table, who is missing, and the goals.

use crate::machine::Machine;
use crate::peaks::Peaks;
use crate::row::Row;
use crate::{summary, table};
use std::io;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// How the record of `kernels` begins: what its figures mean, and how to measure them again.
pub const HEADER: &str = "\
# CPU kernels

Figures are medians in the row's unit. Ratio is Kiln's best over the best of the others: the median of the rounds' ratios, above 1 where Kiln is
ahead. \"cold\" rotates over more than 1 GiB, and more than twice the last cache. Limits are measured beside the kernels: arithmetic is the highest
rate of the run and of the row's rounds; bandwidth is the median of the row's rounds, and the percent of it the median of the rounds' percents.

Where cores are shared with hyperthreads that others keep busy, a line is of one state: \"alone\" where each thread had a core of its own, \"shared\"
where none had, \"partly\" where some had, by the rate of `nop`s before and after each sample of each engine. Figures, limits and ratios are of samples
in that state; those between two states count for none.

To measure again, on a machine that does nothing else, each with a thread for each physical core and with one (`KILN_PYTHON` is an interpreter that
has PyTorch; `--state alone,shared --patience 20` goes on until each engine has its rounds in both):

```sh
cargo build --release -p kiln-benches --bin kernels --features peers,x86-v4
target/release/kernels --shapes standard --record FILE
# AVX2: without `x86-v4` the gemm crate and Flex are held to it too. This is written behind what the file has.
cargo build --release -p kiln-benches --bin kernels --features peers
target/release/kernels --shapes standard --isa avx2 --record FILE
```

A machine that is shared can be measured in pieces, `--op gemm --json > gemm.json` and so on, of which `--rows gemm.json,.. --record FILE` makes the
same record.
";

/// What a run gathered.
#[derive(Debug, Default)]
pub struct Report {
    /// Facts in the order in which they were found: machine, versions, peaks, kernels of peers.
    pub facts: Vec<String>,
    /// Results.
    pub rows: Vec<Row>,
}

impl Report {
    /// Begins with what is known before anything runs.
    pub fn new(machine: &Machine) -> Self {
        let gemm = match cfg!(feature = "x86-v4") {
            true => "with AVX-512 kernels (feature `x86-v4`)",
            false => "held to AVX2 (built without `x86-v4`)",
        };
        let facts = vec![
            format!("machine: {}", machine.describe()),
            format!("built by {} with {}", env!("KILN_BENCH_RUSTC"), env!("KILN_BENCH_CRATES")),
            format!("gemm crate, Flex: {gemm}"),
        ];
        Self { facts, rows: Vec::new() }
    }

    /// Adds the peaks of one number of threads.
    pub fn add_peaks(&mut self, peaks: &Peaks) {
        let memory = peaks.memory;
        let streaming = memory.copy_streaming.map(|rate| format!(", {rate:.1} GB/s with non-temporal stores"));
        let bf16 = peaks.bf16.as_ref().map(|peak| format!(", {} {:.0} GFLOP/s", peak.instruction, peak.gflops));
        self.facts.push(format!(
            "highest of {} threads, {}: fma {:.0} GFLOP/s{}; read {:.1} GB/s; copy {:.1} GB/s{}",
            peaks.threads,
            peaks.isa,
            peaks.fma,
            bf16.unwrap_or_default(),
            memory.read,
            memory.copy,
            streaming.unwrap_or_default()
        ));
    }

    /// Facts, table, missing peers, and the goals if they are wanted.
    pub fn render(&self, with_goals: bool) -> String {
        let facts: String = self.facts.iter().map(|fact| format!("- {fact}\n")).collect();
        let facts = facts + &table::describe_states(&self.rows);
        let mut text = format!("{facts}\n{}\n{}", table::render(&self.rows), table::describe_missing(&self.rows));
        if with_goals {
            text.push_str(
                "\n### Goals\n\nOver the rows that a goal concerns; a ratio is the median over rounds of their time over ours.\n\n",
            );
            text.push_str(&summary::render(&summary::judge(&self.rows)));
        }
        text
    }
}

/// The command line of `program` without values that are paths: they would name the machine's owner.
pub fn describe_command(program: &str, arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec![program.to_string()];
    let mut hide = false;
    for argument in arguments.skip(1) {
        let is_path = argument.contains('/');
        match argument.split_once('=') {
            _ if hide => words.push("..".into()),
            Some((name, value)) if value.contains('/') => words.push(format!("{name}=..")),
            _ if is_path => words.push("..".into()),
            _ => words.push(argument.clone()),
        }
        hide = ["--python", "--record"].contains(&argument.as_str());
    }
    words.join(" ")
}

/// The file of `--record`: a section of this run behind what it held before, with the day and the command, written
/// again after each row, so that a run that is ended leaves what it measured.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    before: String,
    command: String,
    day: String,
}

impl Record {
    /// Reads what the file holds; one that does not exist begins with `header`. `command` is what the section says that
    /// it ran.
    ///
    /// # Errors
    /// Where the file exists and cannot be read, before anything is measured.
    pub fn open(path: &Path, header: &str, command: String) -> io::Result<Self> {
        let before = match std::fs::read_to_string(path) {
            Ok(before) => before,
            Err(error) if error.kind() == io::ErrorKind::NotFound => header.to_string(),
            Err(error) => return Err(error),
        };
        let day = OffsetDateTime::now_utc().date();
        let day = format!("{}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day());
        Ok(Self { path: path.into(), before, command, day })
    }

    /// Writes the file with the section's text by now.
    ///
    /// # Errors
    /// Where it cannot be written. A file beside it takes its place when it is whole, so that nothing is lost.
    pub fn write(&self, section: &str) -> io::Result<()> {
        let Self { path, before, command, day } = self;
        let whole = path.with_extension("partial");
        std::fs::write(&whole, format!("{before}\n## {day}: `{command}`\n\n{section}"))?;
        std::fs::rename(whole, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_grows_and_is_whole_at_any_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernels.md");
        let section = Report::new(&Machine::detect()).render(true);
        for sections in [1, 2] {
            let record = Record::open(&path, HEADER, "kernels".into()).unwrap();
            // The second write of a run replaces the first one's section.
            record.write(&section).unwrap();
            record.write(&section).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with(HEADER));
            assert_eq!(text.matches("- machine: ").count(), sections);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Record::open(folder.path(), HEADER, String::new()).is_err(), "a folder is no record");
    }

    #[test]
    fn commands_show_no_paths() {
        let arguments = ["/a/kernels", "--quick", "--python", "/b/python", "--record=/c/x.md", "--threads", "1,2"];
        let command = describe_command("kernels", arguments.map(String::from).into_iter());
        assert_eq!(command, "kernels --quick --python .. --record=.. --threads 1,2");
    }

    #[test]
    fn a_report_without_rows_is_text() {
        let text = Report::new(&Machine::detect()).render(true);
        assert!(text.contains("machine: ") && text.contains("built by rustc"), "{text}");
    }
}
