//! A program that is read from and never waited for without end.
//!
//! Standard output and standard error are each read by a thread of their own, so that neither can fill up and block the
//! program. Reads end at the deadline; dropping the [`Child`] kills the program, however far it got. The threads are
//! not joined: a grandchild may hold the pipes open for longer than anyone should wait.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::VideoError;

/// Bytes read at once; a pipe holds 64 KiB on Linux.
const CHUNK: usize = 1 << 16;
/// Chunks that wait for us at most.
const CHUNKS: usize = 16;
/// Bytes of standard error that are kept, the last ones.
const STDERR: usize = 4 << 10;
/// How long the end of standard error is waited for.
const STDERR_WAIT: Duration = Duration::from_secs(1);

/// A running program whose output is read through [`Read`].
pub(super) struct Child {
    inner: std::process::Child,
    program: PathBuf,
    /// The file that it works on, for errors.
    path: PathBuf,
    timeout: Duration,
    deadline: Instant,
    stdout: Receiver<io::Result<Vec<u8>>>,
    stderr: Receiver<String>,
    /// The chunk being read and how much of it has been.
    chunk: (Vec<u8>, usize),
}

impl Child {
    /// Starts `program` on the file at `path`, without a shell and without standard input.
    ///
    /// # Errors
    /// [`VideoError::ToolMissing`], [`VideoError::ToolStart`].
    pub fn start(program: &Path, arguments: Vec<OsString>, path: &Path, timeout: Duration) -> Result<Self, VideoError> {
        let program = program.to_owned();
        let spawned = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut inner = match spawned {
            Ok(inner) => inner,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Err(VideoError::ToolMissing { program }),
            Err(source) => return Err(VideoError::ToolStart { program, source }),
        };
        let (send, stdout) = sync_channel(CHUNKS);
        if let Some(pipe) = inner.stdout.take() {
            thread::spawn(move || forward(pipe, &send));
        }
        let (send, stderr) = sync_channel(1);
        if let Some(pipe) = inner.stderr.take() {
            thread::spawn(move || send.send(keep_end(pipe)));
        }
        let (path, deadline) = (path.to_owned(), Instant::now() + timeout);
        Ok(Self { inner, program, path, timeout, deadline, stdout, stderr, chunk: (Vec::new(), 0) })
    }

    /// Waits for the program, whose output has been read to its end.
    ///
    /// # Errors
    /// [`VideoError::ToolFailed`], [`VideoError::ToolTimeout`].
    pub fn finish(mut self) -> Result<(), VideoError> {
        loop {
            match self.inner.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.blame(status)),
                Ok(None) if Instant::now() < self.deadline => thread::sleep(Duration::from_millis(1)),
                Ok(None) => return Err(self.time_out()),
                Err(source) => return Err(VideoError::ToolStart { program: self.program.clone(), source }),
            }
        }
    }

    /// The error for output that could not be read: the deadline, or how the program ended.
    pub fn explain(mut self, error: io::Error, expected: &'static str) -> VideoError {
        if error.kind() == io::ErrorKind::TimedOut {
            return self.time_out();
        }
        // Output that ends early is most often that of a program which failed.
        while Instant::now() < self.deadline && error.kind() == io::ErrorKind::UnexpectedEof {
            match self.inner.try_wait() {
                Ok(Some(status)) if !status.success() => return self.blame(status),
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                _ => break,
            }
        }
        self.refuse(expected, error.to_string())
    }

    /// The error for output that is not what was asked for.
    pub fn refuse(&self, expected: &'static str, found: String) -> VideoError {
        VideoError::ToolOutput { program: self.program.clone(), path: self.path.clone(), expected, found }
    }

    fn blame(&self, status: ExitStatus) -> VideoError {
        let (program, path) = (self.program.clone(), self.path.clone());
        VideoError::ToolFailed { program, path, status, stderr: self.take_stderr() }
    }

    fn time_out(&mut self) -> VideoError {
        self.stop();
        let (program, path) = (self.program.clone(), self.path.clone());
        VideoError::ToolTimeout { program, path, seconds: self.timeout.as_secs_f64(), stderr: self.take_stderr() }
    }

    fn take_stderr(&self) -> String {
        let text = self.stderr.recv_timeout(STDERR_WAIT).unwrap_or_default();
        let text = text.trim();
        if text.is_empty() { "(no message)".to_owned() } else { text.to_owned() }
    }

    fn stop(&mut self) {
        // Both fail only for a program that has ended.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Read for Child {
    /// Fails with [`io::ErrorKind::TimedOut`] at the deadline.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.1 == self.chunk.0.len() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.stdout.recv_timeout(left) {
                Ok(chunk) => self.chunk = (chunk?, 0),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        let rest = &self.chunk.0[self.chunk.1..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.chunk.1 += count;
        Ok(count)
    }
}

/// Sends what comes through a pipe until it ends or nobody takes it.
fn forward(mut pipe: impl Read, send: &SyncSender<io::Result<Vec<u8>>>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let chunk = match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(buffer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        if send.send(chunk).is_err() || failed {
            return;
        }
    }
}

/// Reads to the end and keeps the last bytes.
fn keep_end(mut pipe: impl Read) -> String {
    let (mut end, mut buffer) = (Vec::new(), [0; 1 << 10]);
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        end.extend_from_slice(&buffer[..count]);
        if end.len() > 2 * STDERR {
            end.drain(..end.len() - STDERR);
        }
    }
    String::from_utf8_lossy(&end[end.len().saturating_sub(STDERR)..]).into_owned()
}
