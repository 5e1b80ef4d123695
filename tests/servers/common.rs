//! What several modules need: the programs and the conversations of the book, trials of test functions, and
//! clients that speak version 2 of the protocol.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use examiner::{
    check,
    conversation::{self, Conditions, Conversation},
    process::{ADDR, Server, Subject},
    stages::{self, List, Program, Stages},
};
use libtest_mimic::{Failed, Trial};

/// How long to wait for what must happen: long enough for a machine that is busy.
pub(crate) use examiner::conversation::PATIENCE;

/// Why a trial fails. Whatever can be displayed becomes one.
pub(crate) type Result<T> = std::result::Result<T, Failed>;

pub(crate) fn message(error: &Failed) -> &str {
    error.message().unwrap_or_default()
}

/// The programs and the conversations of the book.
#[derive(Clone, Copy)]
pub(crate) struct Book {
    pub(crate) list: &'static List,
    pub(crate) stages: &'static Stages,
    pub(crate) conversations: &'static [Conversation],
}

impl Book {
    pub(crate) fn read() -> Result<Book> {
        Ok(Book {
            list: stages::list()?,
            stages: stages::build()?,
            conversations: conversation::all()?.leak(),
        })
    }

    pub(crate) fn conversation(&self, name: &str) -> Result<&'static Conversation> {
        let found = self.conversations.iter().find(|c| c.name == name);
        found.ok_or_else(|| format!("there is no conversation {name}").into())
    }

    /// What a stage must pass, in the order in which a learner meets it.
    pub(crate) fn promised(&self, stage: &Program) -> Vec<&'static Conversation> {
        check::promised(&stage.name, self.conversations)
    }

    /// The servers that promise this conversation.
    pub(crate) fn servers_with(&self, conversation: &str) -> Result<Programs> {
        let conversation = self.conversation(conversation)?;
        let servers = self.list.servers();
        Ok(named(
            servers.filter(|s| conversation.is_promised_by(&s.name)),
        ))
    }

    /// How the examiner starts a program.
    pub(crate) fn subject(&self, program: &Program) -> Result<Subject> {
        let mut words = program.command_line();
        if words.is_empty() {
            return Ok(self.stages.program(&program.name)?.into());
        }
        words.push(ADDR.to_string());
        Ok(Subject::Command(words))
    }
}

/// Programs with their names, for [`each`].
pub(crate) type Programs = Vec<(String, &'static Program)>;

pub(crate) fn named(programs: impl Iterator<Item = &'static Program>) -> Programs {
    programs
        .map(|program| (program.name.clone(), program))
        .collect()
}

/// A trial of each of these functions with each of the values, which have names. A test that fails panics.
macro_rules! each {
    ($values:expr; $($test:ident),+ $(,)?) => {
        [$($crate::common::trials_of(concat!(module_path!(), "::", stringify!($test)), $test, $values)),+]
            .into_iter()
            .flatten()
    };
}
pub(crate) use each;

pub(crate) fn trials_of<T: Clone + Send + 'static>(
    test: &'static str,
    run: fn(T),
    values: &[(String, T)],
) -> impl Iterator<Item = Trial> {
    // Without the name of this program.
    let test = test.split_once("::").map_or(test, |(_, test)| test);
    values.iter().map(move |(name, value)| {
        let value = value.clone();
        Trial::test(format!("{test} {name}"), move || {
            run(value);
            Ok(())
        })
    })
}

/// What is in a folder, in order.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// The name of a file without its ending.
pub(crate) fn stem(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Whether this is the transcript that is recorded in the file.
pub(crate) fn same_as_recorded(file: &Path, transcript: &str) -> Result<()> {
    const AGAIN: &str = "`UPDATE_EXPECT=1 cargo test --test servers transcript` makes it again";
    let compare = || expect_test::expect_file![file].assert_eq(transcript);
    // It panics when they differ, and shows where.
    let same = panic::catch_unwind(AssertUnwindSafe(compare));
    same.map_err(|_| format!("{} differs; {AGAIN}", file.display()).into())
}

/// The executable of a program of the book.
pub(crate) fn executable(program: &str) -> &'static Path {
    stages::build().unwrap().program(program).unwrap()
}

pub(crate) fn start(server: &Program) -> Server {
    start_with("", None, server)
}

/// Starts a server of the book with these options, and with a limit on its open descriptors.
pub(crate) fn start_with(options: &str, descriptors: Option<u32>, server: &Program) -> Server {
    let conditions = Conditions {
        descriptors,
        options: options.split_whitespace().map(str::to_string).collect(),
    };
    let subject = Subject::from(executable(&server.name));
    subject.start(&conditions).unwrap()
}

pub(crate) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect(addr)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// Logs in to a server of version 2, and waits for its welcome.
pub(crate) fn log_in(addr: SocketAddr, name: &str) -> io::Result<BufReader<TcpStream>> {
    let mut client = connect(addr)?;
    client.write_all(format!("{name}\n").as_bytes())?;
    let mut client = BufReader::new(client);
    expect(&mut client, &format!("welcome {name}\n"))?;
    Ok(client)
}

/// Reads a line that begins so, or, if this is nothing, the end.
pub(crate) fn expect(client: &mut impl BufRead, beginning: &str) -> io::Result<()> {
    let mut line = String::new();
    let read = client.read_line(&mut line);
    let fits = line.starts_with(beginning) && line.is_empty() == beginning.is_empty();
    let seen = match read {
        Ok(_) if fits => return Ok(()),
        Ok(_) => format!("the line is `{line}`"),
        Err(error) => error.to_string(),
    };
    Err(io::Error::other(format!(
        "expected `{beginning}…`, but {seen}"
    )))
}
