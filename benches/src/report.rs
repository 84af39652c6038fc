//! A run as text: where it was measured, the table, who is missing, and the goals.

use crate::machine::Machine;
use crate::peaks::Peaks;
use crate::row::Row;
use crate::{summary, table};

/// How a recorded file begins: what its figures mean, and how to measure them again.
pub const HEADER: &str = "\
# CPU kernels

Figures are medians in the row's unit. Ratio is Kiln's best over the best of the others: the median of the rounds' ratios, above 1 where Kiln is
ahead. \"cold\" rotates over more than 1 GiB. Limits are measured beside the kernels: arithmetic is the highest rate of the run and of the row's
rounds; bandwidth is the median of the row's rounds, and the percent of it the median of the rounds' percents.

To measure again, on a machine that does nothing else, each on all threads and on one (`KILN_PYTHON` is an interpreter that has PyTorch):

```sh
cargo build --release -p kiln-benches --bin kernels --features peers,x86-v4
target/release/kernels --shapes standard --record FILE
# AVX2: without `x86-v4` the gemm crate and Flex are held to it too. This is written behind what the file has.
cargo build --release -p kiln-benches --bin kernels --features peers
target/release/kernels --shapes standard --isa avx2 --record FILE
```
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
        let mut text = format!("{facts}\n{}\n{}", table::render(&self.rows), table::describe_missing(&self.rows));
        if with_goals {
            text.push_str(
                "\n### Goals\n\nOver the rows that a goal concerns; a ratio is the median over rounds of their time over ours.\n\n",
            );
            text.push_str(&summary::render(&summary::judge(&self.rows)));
        }
        text
    }

    /// The same as a section of a file in `benches/record/`, which begins with [`HEADER`], with the day and the command. Nothing in it names the machine's owner: paths of
    /// arguments are left out.
    pub fn document(&self, command: &str, day: &str) -> String {
        format!("## {day}: `{command}`\n\n{}", self.render(true))
    }
}

/// The command line without values that are paths.
pub fn describe_command(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["kernels".to_string()];
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

/// The day of a time, `2026-11-23`, UTC (Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
pub fn describe_day(seconds_since_1970: u64) -> String {
    let days = seconds_since_1970 / 86400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_by_hand() {
        assert_eq!(describe_day(0), "1970-01-01");
        assert_eq!(describe_day(951_782_400), "2000-02-29");
        assert_eq!(describe_day(1_795_392_000 + 86_399), "2026-11-23");
    }

    #[test]
    fn commands_show_no_paths() {
        let arguments = ["/a/kernels", "--quick", "--python", "/b/python", "--record=/c/x.md", "--threads", "1,2"];
        let command = describe_command(arguments.map(String::from).into_iter());
        assert_eq!(command, "kernels --quick --python .. --record=.. --threads 1,2");
    }

    #[test]
    fn a_report_without_rows_is_text() {
        let text = Report::new(&Machine::detect()).render(true);
        assert!(text.contains("machine: ") && text.contains("built by rustc"), "{text}");
    }
}
