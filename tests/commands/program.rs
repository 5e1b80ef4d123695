//! Starts a program in a folder of its own, and waits for its lines and its end.

use std::{
    collections::BTreeMap,
    env::{self, consts::EXE_SUFFIX},
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use examiner::stages;
use tempfile::TempDir;
use walkdir::WalkDir;

/// Long enough for a machine that is busy with other tests; no test waits longer than it must.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How many processes of one test run at once, at most. As many tests do the same.
const AT_ONCE: usize = 12;

/// A Cargo that builds into the folder which this test was built into, and that folder: TARGET/PROFILE.
pub(crate) fn cargo(command: &str) -> (Command, PathBuf) {
    let test = env::current_exe().expect("a test knows where it is");
    let mut folders = test.ancestors().skip(2).map(Path::to_path_buf);
    let mut folder = || folders.next().expect("a test is TARGET/PROFILE/deps/TEST");
    let (profile, target) = (folder(), folder());
    let mut cargo = Command::new(stages::cargo());
    cargo.args(command.split(' '));
    cargo.arg("--target-dir").arg(target);
    if !profile.ends_with("debug") {
        cargo.arg("--profile").args(profile.file_name());
    }
    cargo.current_dir(stages::root()).stdin(Stdio::null());
    (cargo, profile)
}

/// A program of the tools, which Cargo has brought up to date. It stays the file that it is if nothing
/// changed.
pub(crate) fn tool(name: &str) -> PathBuf {
    static TOOLS: LazyLock<PathBuf> = LazyLock::new(|| {
        let (mut cargo, programs) = cargo("build --bin companion --bin bench");
        let status = cargo.status().expect("Cargo can be run");
        assert!(status.success(), "the tools do not build");
        programs
    });
    TOOLS.join(format!("{name}{EXE_SUFFIX}"))
}

/// A program of the book.
pub(crate) fn stage(name: &str) -> &'static Path {
    let stages = stages::build().expect("the stages build");
    stages.program(name).expect("it is in the list")
}

/// A command with nothing to read, whose output the test reads.
pub(crate) fn piped(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The companion with the arguments in this line, none of which has a space in it.
pub(crate) fn companion(line: &str) -> Command {
    let mut command = piped(tool("companion"));
    command.args(line.split_whitespace());
    command
}

/// Runs the companion to its end.
pub(crate) fn run(line: &str) -> Ended {
    Running::start(&mut companion(line)).end()
}

/// A folder for one test, removed with this value.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn empty() -> Self {
        Self(TempDir::new().expect("a folder can be made"))
    }

    /// A copy of one of the `books` beside this file.
    pub(crate) fn of_book(name: &str) -> Self {
        let folder = Self::empty();
        let books = stages::root().join("tests/commands/books");
        for (file, text) in files(&books.join(name)) {
            folder.write(file, &text);
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).expect(file)
    }

    /// Replaces a file at once, as careful editors do, so that one edit is one change.
    pub(crate) fn write(&self, file: impl AsRef<Path>, text: &str) {
        let path = self.path().join(file);
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("the folder can be made");
        let draft = folder.join(".draft");
        fs::write(&draft, text).expect("the draft can be written");
        fs::rename(draft, path).expect("the draft can take the place of the file");
    }

    /// Runs the companion in this folder to its end.
    pub(crate) fn run(&self, line: &str) -> Ended {
        Running::start(companion(line).current_dir(self.path())).end()
    }
}

/// All files below a folder, by their paths from there.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let entries = WalkDir::new(folder).into_iter();
    let paths = entries.map(|entry| entry.expect("it can be read").into_path());
    let file = |path: PathBuf| {
        let name = path.strip_prefix(folder).expect("it is below");
        (name.into(), fs::read_to_string(&path).expect("it is text"))
    };
    paths.filter(|path| path.is_file()).map(file).collect()
}

/// A process that is killed with this value, if it has not ended by itself.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("it can be run");
        Self {
            stdout: Lines::of(child.stdout.take()),
            stderr: Lines::of(child.stderr.take()),
            child,
        }
    }

    /// Waits until it has ended, which it must do by itself.
    pub(crate) fn end(&mut self) -> Ended {
        // Its streams close when it ends, and waiting for that can have a deadline.
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        let status = self.child.wait().expect("it is our child");
        Ended {
            status,
            stdout,
            stderr,
        }
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("there is `kill`").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream, read by a thread of its own so that waiting for one can have a deadline.
pub(crate) struct Lines(mpsc::Receiver<String>);

impl Lines {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let lines = stream
                .into_iter()
                .flat_map(|it| BufReader::new(it).split(b'\n'));
            for line in lines.map_while(Result::ok) {
                // A test that has seen enough does not receive any more.
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self(receiver)
    }

    /// The next line, or `None` at the end.
    pub(crate) fn next(&self) -> Option<String> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("neither a line nor the end comes"),
        }
    }

    /// The lines up to the first that contains this.
    #[track_caller]
    pub(crate) fn until(&self, wanted: &str) -> String {
        let mut lines = String::new();
        loop {
            let line = self.next();
            let line = line.unwrap_or_else(|| panic!("no `{wanted}` in {lines}"));
            lines += &format!("{line}\n");
            if line.contains(wanted) {
                return lines;
            }
        }
    }

    /// All lines until the end, which must come in time.
    pub(crate) fn rest(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = String::new();
        while let Some(line) = self.next() {
            assert!(Instant::now() < deadline, "it goes on and on");
            lines += &format!("{line}\n");
        }
        lines
    }
}

/// What a process has left.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// It must have ended with this status.
    #[track_caller]
    pub(crate) fn with(self, status: i32) -> Self {
        let Self { stdout, stderr, .. } = &self;
        assert_eq!(self.status.code(), Some(status), "{stdout}{stderr}");
        self
    }
}

/// The lines that say what is wrong, with the separators of Unix in paths.
pub(crate) fn errors(stderr: &str) -> Vec<String> {
    let lines = stderr.lines().filter(|line| line.starts_with("error: "));
    lines.map(|line| line.replace('\\', "/")).collect()
}

/// The rows of a table, each with its cells.
pub(crate) fn rows<const N: usize>(table: &str) -> impl Iterator<Item = [&str; N]> {
    table.trim().lines().map(|row| {
        let cells: Vec<_> = row.split(" | ").map(str::trim).collect();
        cells.try_into().expect("a row has all cells")
    })
}

/// Tells the person who runs the tests what isn't tested, past the capture of their output.
pub(crate) fn note(text: &str) {
    // A test does not fail of it.
    let _ = writeln!(io::stderr(), "{text}");
}

#[track_caller]
pub(crate) fn has(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "no `{wanted}` in {text}");
}

/// Tests all these, so many at once that a test which waits keeps no other from going on.
pub(crate) fn at_once<T, I>(cases: I, test: impl Fn(T) + Sync)
where
    I: IntoIterator<Item = T, IntoIter: Send>,
{
    let cases = Mutex::new(cases.into_iter());
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = next() {
                    test(case);
                }
            });
        }
    });
}
