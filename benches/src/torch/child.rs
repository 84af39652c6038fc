//! The child process: requests and answers, one line each.

use super::{HELD_TO_AVX2, Launch};
use crate::measure::Failure;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// What the child runs.
pub const SCRIPT: &str = include_str!("../../peers/torch_ops.py");

/// A running child. It is ended when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    requests: ChildStdin,
    replies: Receiver<String>,
    timeout: Duration,
    greeting: Value,
    alive: bool,
}

impl Child {
    /// Starts Python with the script and waits for its greeting.
    ///
    /// # Errors
    /// [`Failure::Child`] when there is no such interpreter, when it has no torch, and when it says nothing in time.
    pub fn start(launch: &Launch) -> Result<Self, Failure> {
        let mut command = Command::new(&launch.python);
        command.args(["-u", "-c", &launch.script, &launch.threads.to_string(), launch.device.name()]);
        // PyTorch's pools take their size from here before the script can set it.
        command.env("OMP_NUM_THREADS", launch.threads.to_string());
        if launch.avx2 {
            command.envs(HELD_TO_AVX2);
        }
        // Importing torch takes a while on a cold disk, longer than a case does.
        let start = launch.timeout.max(Duration::from_secs(60));
        Self::spawn(command, &format!("Python at {}", name(launch)), start, launch.timeout)
    }

    /// Starts a program that greets and answers by lines of JSON: it has `start` to greet, and `timeout` for each
    /// answer.
    ///
    /// # Errors
    /// [`Failure::Child`] when there is no such program (`what` is its name in the message), and when it says nothing
    /// in time.
    pub fn spawn(mut command: Command, what: &str, start: Duration, timeout: Duration) -> Result<Self, Failure> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(|error| Failure::Child(format!("no {what}: {error}")))?;
        let (Some(requests), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Failure::Child("the child has no pipes".into()));
        };
        let (send, replies) = channel();
        // Ends with the child's stdout.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut child = Self { process, requests, replies, timeout, greeting: Value::Null, alive: true };
        child.greeting = child.read(start)?;
        Ok(child)
    }

    /// What it said when it was ready.
    pub fn greeting(&self) -> &Value {
        &self.greeting
    }

    /// Whether it can be asked.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// [`Failure::Child`] with the child's own message; when it ends; when it is silent for too long, after which it is
    /// ended.
    pub fn ask(&mut self, request: &Value) -> Result<Value, Failure> {
        if !self.alive {
            return Err(Failure::Child("the child ended".into()));
        }
        let sent = writeln!(self.requests, "{request}").and_then(|()| self.requests.flush());
        if sent.is_err() {
            return Err(self.end("the child ended"));
        }
        self.read(self.timeout)
    }

    fn read(&mut self, timeout: Duration) -> Result<Value, Failure> {
        let line = match self.replies.recv_timeout(timeout) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                return Err(self.end(&format!("the child was silent for {} s", timeout.as_secs_f64())));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.end("the child ended")),
        };
        let Ok(reply) = serde_json::from_str::<Value>(&line) else {
            return Err(self.end("the child's answer is no JSON"));
        };
        match reply["error"].as_str() {
            Some(error) => Err(Failure::Child(error.into())),
            None => Ok(reply),
        }
    }

    /// Ends the process, and says why it did.
    fn end(&mut self, why: &str) -> Failure {
        self.alive = false;
        // It may have ended by itself already.
        let _ = self.process.kill();
        let status = self.process.wait().map(|status| status.to_string()).unwrap_or_default();
        Failure::Child(format!("{why} ({status})"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The interpreter without its folder: results are published.
fn name(launch: &Launch) -> String {
    launch.python.file_name().unwrap_or_default().to_string_lossy().into()
}
