//! Launches, as requests to their programs. `host/main.cpp` is the other side.

use super::{
    HostError,
    program::{Program, failed},
    regions::Argument,
    text::Text,
};
use std::{
    io::{BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Seconds after which a kernel counts as one that does not end. The slowest of the tests takes two.
const SECONDS: u32 = 120;

/// Where the order of shuffled units starts. Any number will do.
const SEED: u64 = 61;

/// Addresses randomised by newer kernels can collide with what AddressSanitizer of GCC 12 reserves; the program then
/// dies before it says anything, about one time in eight.
const ATTEMPTS: usize = 8;

/// A launch's memory, as the program gets it.
pub(super) struct Request<'a> {
    pub cubes: (u32, u32, u32),
    /// Each region's offset in its page, and its bytes.
    pub regions: &'a [(u64, &'a [u8])],
    pub arguments: &'a [Argument],
}

impl Request<'_> {
    fn count_bytes(&self) -> usize {
        self.regions.iter().map(|(_, content)| content.len()).sum()
    }

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

/// Programs that wait for launches. To start one takes 20 ms, most of it AddressSanitizer's: several times what a small
/// launch does.
#[derive(Debug, Default)]
pub(super) struct Workers(Vec<Worker>);

/// How many of them wait at once, about 20 MB each. A model's layer has fewer kernels.
const WORKERS: usize = 24;

#[derive(Debug)]
struct Worker {
    program: PathBuf,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Workers {
    /// Runs the program; its regions as the kernel left them, one after the other.
    ///
    /// # Errors
    /// [`HostError::Kernel`] with what the kernel did wrong, [`HostError::System`] when the program cannot be started.
    pub fn run(&mut self, text: &Text, program: &Program, request: &Request) -> Result<Vec<u8>, HostError> {
        let found = self.0.iter().position(|worker| worker.program == program.path);
        let mut worker = match found {
            Some(index) => self.0.remove(index),
            None => Worker::start(&program.path)?,
        };
        match worker.run(&request.encode(text), request.count_bytes()) {
            Some(bytes) => {
                // The one that has waited longest leaves.
                if self.0.len() == WORKERS {
                    self.0.remove(0).stop();
                }
                self.0.push(worker);
                Ok(bytes)
            }
            None => Err(HostError::Kernel {
                kernel: text.kernel.clone(),
                message: worker.explain(),
                path: program.text.clone(),
            }),
        }
    }
}

impl Worker {
    fn start(program: &Path) -> Result<Self, HostError> {
        let starting = |error| failed("running", program, &error);
        let mut attempts = 0;
        loop {
            let mut command = Command::new(program);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().map_err(starting)?;
            let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(starting(ErrorKind::BrokenPipe.into()));
            };
            let mut worker = Self { program: program.to_owned(), child, stdin, stdout: BufReader::new(stdout) };
            attempts += 1;
            if worker.read(1).is_some_and(|ready| ready == *b"r") {
                return Ok(worker);
            }
            if attempts == ATTEMPTS {
                return Err(starting(std::io::Error::other(worker.explain())));
            }
            worker.stop();
        }
    }

    fn read(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let mut found = vec![0; bytes];
        self.stdout.read_exact(&mut found).ok()?;
        Some(found)
    }

    /// The regions' bytes; `None` when the program has ended, or is about to.
    fn run(&mut self, input: &[u8], bytes: usize) -> Option<Vec<u8>> {
        // It may end before it has read all; why stands in its output.
        let _ = self.stdin.write_all(input);
        let _ = self.stdin.flush();
        if self.read(1)? != *b"k" { None } else { self.read(bytes) }
    }

    /// Why it did not answer.
    fn explain(mut self) -> String {
        drop(self.stdin);
        let (mut message, mut report) = (Vec::new(), Vec::new());
        let _ = self.stdout.read_to_end(&mut message);
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_end(&mut report);
        }
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        if !message.is_empty() {
            return String::from_utf8_lossy(&message).into_owned();
        }
        // The sanitizers end a program on their own where `main.cpp` has no say: misaligned accesses, overruns of the
        // stack.
        let report = String::from_utf8_lossy(&report);
        let line = report.lines().find(|line| line.contains("ERROR") || line.contains("runtime error"));
        format!("{} ({status})", line.unwrap_or("it died without a word"))
    }

    /// At the end of its input it ends.
    fn stop(mut self) {
        drop(self.stdin);
        let _ = self.child.wait();
    }
}
