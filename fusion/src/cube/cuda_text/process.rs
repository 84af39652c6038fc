//! One launch, as a run of its program. `host/main.cpp` is the other side.

use super::{
    HostError,
    program::{Program, failed},
    regions::Argument,
    text::Text,
};
use std::{
    io::{ErrorKind, Write},
    process::{Command, Output, Stdio},
};

/// Seconds after which a kernel counts as one that does not end. The slowest of the tests takes two.
const SECONDS: u32 = 120;

/// Where the order of shuffled units starts. Any number will do.
const SEED: u64 = 61;

/// Addresses randomised by newer kernels can collide with what AddressSanitizer of GCC 12 reserves; the program then dies before
/// it says anything, about one time in eight.
const ATTEMPTS: usize = 8;

/// A launch's memory, as the program gets it.
pub(super) struct Request<'a> {
    pub cubes: (u32, u32, u32),
    /// Each region's offset in its page, and its bytes.
    pub regions: &'a [(u64, &'a [u8])],
    pub arguments: &'a [Argument],
}

impl Request<'_> {
    fn encode(&self, text: &Text) -> Vec<u8> {
        let (dim, cubes) = (text.cube_dim, self.cubes);
        let mut bytes = Vec::new();
        for word in [cubes.0, cubes.1, cubes.2, dim.x, dim.y, dim.z, text.shared_bytes as u32, SECONDS] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(SEED.to_le_bytes());
        bytes.extend(text.slack.to_le_bytes());
        bytes.extend((self.regions.len() as u32).to_le_bytes());
        bytes.extend((self.arguments.len() as u32).to_le_bytes());
        for &(offset, content) in self.regions {
            bytes.extend((content.len() as u64).to_le_bytes());
            bytes.extend((offset % 512).to_le_bytes());
            bytes.extend(content);
        }
        for argument in self.arguments {
            bytes.extend((argument.region as u64).to_le_bytes());
            bytes.extend(argument.offset.to_le_bytes());
        }
        bytes
    }
}

/// Runs the program; its regions as the kernel left them, one after the other.
///
/// # Errors
/// [`HostError::Kernel`] with what the kernel did wrong, [`HostError::System`] when the program cannot be started.
pub(super) fn run(text: &Text, program: &Program, request: &Request) -> Result<Vec<u8>, HostError> {
    let input = request.encode(text);
    let wrong =
        |message: String| HostError::Kernel { kernel: text.kernel.clone(), message, path: program.text.clone() };
    let mut output = start(program, &input)?;
    for _ in 1..ATTEMPTS {
        if !output.stdout.is_empty() {
            break;
        }
        output = start(program, &input)?;
    }
    let expected: usize = request.regions.iter().map(|(_, content)| content.len()).sum();
    match output.stdout.get(1) {
        Some(b'k') if output.stdout.len() == expected + 2 => Ok(output.stdout.split_off(2)),
        Some(b'e') => Err(wrong(String::from_utf8_lossy(&output.stdout[2..]).into_owned())),
        // The sanitizers end a program on their own where `main.cpp` has no say: misaligned accesses, overruns of the stack.
        _ => {
            let report = String::from_utf8_lossy(&output.stderr);
            let line = report.lines().find(|line| line.contains("ERROR") || line.contains("runtime error"));
            Err(wrong(format!("{} ({})", line.unwrap_or("it died without a word"), output.status)))
        }
    }
}

fn start(program: &Program, input: &[u8]) -> Result<Output, HostError> {
    let starting = |error| failed("running", &program.path, &error);
    let mut child = Command::new(&program.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(starting)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input) {
            // It ended before it had read all; why stands in its output.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(starting(error)),
            _ => {}
        }
    }
    child.wait_with_output().map_err(starting)
}
