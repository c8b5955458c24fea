//! The binary as a process, and what it left when it ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_klamm");

/// What a process said, and its exit code.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Starts a command.
pub(crate) fn spawn(arguments: &[&str]) -> Child {
    Command::new(PROGRAM)
        .args(arguments)
        .env_remove("KLAMM_BOOTSTRAP")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a command to its end.
pub(crate) fn klamm(arguments: &[&str], input: &str) -> Ended {
    let mut child = spawn(arguments);
    // A command that does not read it ends the pipe.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let done = child.wait_with_output().unwrap();
    Ended {
        code: done.status.code(),
        stdout: String::from_utf8(done.stdout).unwrap(),
        stderr: String::from_utf8(done.stderr).unwrap(),
    }
}

/// How a server is to be started.
pub(crate) struct Serve {
    data: PathBuf,
    set: Vec<String>,
    config: Option<String>,
    shell: String,
}

impl Serve {
    /// On this data, at an address that the system finds, without metrics.
    pub(crate) fn new(data: &Path) -> Self {
        let serve = Self {
            data: data.to_owned(),
            set: Vec::new(),
            config: None,
            shell: ":".to_owned(),
        };
        serve
            .set("listeners", "PLAINTEXT://127.0.0.1:0")
            .set("klamm.http.listener", "")
    }

    /// With this key set.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.set.push(format!("{key}={value}"));
        self
    }

    /// With this file.
    pub(crate) fn config(mut self, file: &str) -> Self {
        self.config = Some(file.to_owned());
        self
    }

    /// By a shell that does this before.
    pub(crate) fn under(mut self, shell: &str) -> Self {
        shell.clone_into(&mut self.shell);
        self
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("sh");
        let script = format!("{}; exec \"$0\" \"$@\"", self.shell);
        command.args(["-c", &script, PROGRAM, "serve", "--data"]);
        command.arg(&self.data);
        for set in &self.set {
            command.args(["--set", set]);
        }
        if let Some(config) = &self.config {
            command.args(["--config", config]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(&self) -> Server {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // What it says is read all the time: a full pipe would hold it up.
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = Vec::new();
        for line in lines.map_while(Result::ok) {
            // The last thing it prints.
            let is_last = line.contains("consume greetings");
            printed.push(line);
            if is_last {
                break;
            }
        }
        Server {
            child,
            printed,
            errors: Some(errors),
        }
    }

    /// Starts one that cannot, and waits for its end.
    pub(crate) fn refused(&self) -> Ended {
        let mut server = self.start();
        assert!(server.printed.is_empty(), "{:?}", server.printed);
        server.end()
    }
}

/// A server that was started.
pub(crate) struct Server {
    child: Child,
    printed: Vec<String>,
    errors: Option<JoinHandle<String>>,
}

impl Server {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Where it listens.
    pub(crate) fn bootstrap(&self) -> String {
        let line = self.printed.first().expect("it says where it listens");
        let (_, address) = line.split_once("is listening on ").unwrap();
        address.to_owned()
    }

    /// The commands that it prints.
    pub(crate) fn commands(&self) -> Vec<String> {
        let commands = self.printed.iter().filter(|line| line.contains(" greetings"));
        commands.map(|line| line.trim().to_owned()).collect()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        self.end()
    }

    fn end(&mut self) -> Ended {
        let errors = self.errors.take().expect("it ends once");
        Ended {
            code: self.child.wait().unwrap().code(),
            stdout: self.printed.join("\n"),
            stderr: errors.join().unwrap(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What an HTTP server answers, if there is one.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
