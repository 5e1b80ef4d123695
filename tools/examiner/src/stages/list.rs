//! The list of programs, `code/stages.toml`. The head of that file explains its fields.

use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock};

use serde::Deserialize;

use crate::Error;

/// Where the list is, from the root of the repository.
const FILE: &str = "code/stages.toml";

/// The root of the repository.
pub fn root() -> &'static Path {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.ancestors().nth(2);
    root.expect("the examiner is in tools/examiner")
}

/// The list of this repository, read once; it fails as [`List::read`].
pub fn list() -> Result<&'static List, Error> {
    static LIST: OnceLock<Result<List, Error>> = OnceLock::new();
    let list = LIST.get_or_init(|| List::read(root()));
    list.as_ref().map_err(Error::clone)
}

/// All programs, in the order of the book.
#[derive(Clone, Debug)]
pub struct List {
    programs: Vec<Program>,
}

/// One program. It inherits `protocol`, `options` and `role` from the program that it follows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Program {
    /// `07-broker`; its number is that of its chapter.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// What kind of program it is.
    pub kind: Kind,
    /// The stage that it starts from, or stands beside.
    pub follows: Option<String>,
    /// The version of the protocol that it speaks.
    #[serde(default)]
    pub protocol: Version,
    /// Whether it has options besides its address.
    #[serde(default)]
    pub options: bool,
    /// The faults that it's the first without, by their numbers in the ledger.
    #[serde(default)]
    pub closes: Vec<u32>,
    /// For a client: the first server that it works with.
    pub talks_to: Option<String>,
    /// The conversations that it doesn't keep although its stage does, each with the reason.
    #[serde(default)]
    pub gives_up: BTreeMap<String, String>,
    /// Why it promises nothing about stopping, if it doesn't.
    pub never_stops: Option<String>,
    /// Why only what it gives up is examined: whether it keeps anything else is a matter of chance.
    pub by_chance: Option<String>,
    /// What runs it, where that isn't Cargo; `{file}` stands for the program's path without its ending.
    #[serde(default)]
    pub command: Vec<String>,
    /// The kind of the stage that it goes back to: that of a solution of a client's exercise is a client.
    #[serde(skip)]
    pub role: Option<Kind>,
}

/// What kind of program one is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A stage that is a server.
    Server,
    /// A stage that is a client.
    Client,
    /// A program that prepares the chat and doesn't speak its protocol: a stage if it follows nothing, else a
    /// smaller one beside its stage.
    Experiment,
    /// The solution of an exercise in its stage's chapter.
    Solution,
    /// A design that its stage's chapter discusses.
    Alternative,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "u32")]
pub enum Version {
    /// The classic: a client hears only from other peers, `from NAME: TEXT`.
    #[default]
    One,
    /// The server speaks for itself, too: `welcome NAME`, `error CODE DETAIL`.
    Two,
}

impl TryFrom<u32> for Version {
    type Error = Error;

    fn try_from(number: u32) -> Result<Version, Error> {
        match number {
            1 => Ok(Version::One),
            2 => Ok(Version::Two),
            _ => {
                let (number, known) = (number.to_string(), ["1", "2"].into_iter());
                Err(Error::unknown("version of the protocol", &number, known))
            }
        }
    }
}

impl Program {
    /// Whether it's a stage: a complete program that a chapter builds up.
    pub fn is_stage(&self) -> bool {
        match self.kind {
            Kind::Server | Kind::Client => true,
            Kind::Experiment => self.follows.is_none(),
            Kind::Solution | Kind::Alternative => false,
        }
    }

    /// How Cargo selects it: `cargo run --bin NAME` or `cargo run --example NAME`.
    pub fn cargo_flag(&self) -> &'static str {
        match self.is_stage() {
            true => "--bin",
            false => "--example",
        }
    }

    /// Whether it's a server of the chat, or stands beside one.
    pub fn is_server(&self) -> bool {
        self.role == Some(Kind::Server)
    }

    /// Whether it's a client, or stands beside one.
    pub fn is_client(&self) -> bool {
        self.role == Some(Kind::Client)
    }

    /// Where its source is, from the root of the repository.
    pub fn path(&self) -> String {
        let name = self.name.as_str();
        let command = self.command_line();
        match command.into_iter().find(|word| word.contains(name)) {
            Some(file) => file,
            None if self.is_stage() => format!("code/src/bin/{name}.rs"),
            None => format!("code/examples/{name}.rs"),
        }
    }

    /// The command that runs it from the root of the repository, without an address; empty if Cargo builds and
    /// runs it.
    pub fn command_line(&self) -> Vec<String> {
        let file = format!("code/examples/{}", self.name);
        let words = self.command.iter();
        words.map(|word| word.replace("{file}", &file)).collect()
    }
}

impl List {
    /// Reads the list of the repository in this folder.
    ///
    /// # Errors
    ///
    /// If it can't be read or understood, two programs have one name, or one follows a program that doesn't come
    /// before it.
    pub fn read(root: &Path) -> Result<List, Error> {
        let text = fs::read_to_string(root.join(FILE));
        List::parse(&text.map_err(|error| Error::io(format!("cannot read {FILE}"), error))?)
    }

    fn parse(text: &str) -> Result<List, Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            program: Vec<Program>,
        }
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text[..start].matches('\n').count() + 1;
            Error::malformed(format!("{FILE}:{line}"), error.message())
        })?;
        let mut list = List {
            programs: Vec::new(),
        };
        for mut program in file.program {
            let name = &program.name;
            if list.get(name).is_ok() {
                return Err(Error::malformed(FILE, format!("{name} is there twice")));
            }
            if let Some(start) = &program.follows {
                let start = list.get(start).map_err(|_| {
                    let what = format!("{name} follows {start}, which does not come before it");
                    Error::malformed(FILE, what)
                })?;
                // A later version says so; nothing goes back to an earlier one, or loses its options.
                program.protocol = program.protocol.max(start.protocol);
                program.options |= start.options;
                program.role = start.role;
            }
            // A client may follow a server, or the other way round: a stage's own kind counts.
            if program.role.is_none() || program.is_stage() {
                program.role = Some(program.kind);
            }
            list.programs.push(program);
        }
        Ok(list)
    }

    /// The program of this name.
    ///
    /// # Errors
    ///
    /// If no program has this name; the error lists the names.
    pub fn get(&self, name: &str) -> Result<&Program, Error> {
        let found = self.programs().find(|program| program.name == name);
        let names = || self.programs().map(|program| program.name.as_str());
        found.ok_or_else(|| Error::unknown("program", name, names()))
    }

    /// All programs.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter()
    }

    /// The stages: servers, clients, and the experiments that chapters come to.
    pub fn stages(&self) -> impl Iterator<Item = &Program> {
        self.programs().filter(|program| program.is_stage())
    }

    /// The stages that are servers.
    pub fn servers(&self) -> impl Iterator<Item = &Program> {
        let is_server = |program: &&Program| program.kind == Kind::Server;
        self.programs().filter(is_server)
    }

    /// Solutions, alternatives, and experiments beside a stage.
    pub fn examples(&self) -> impl Iterator<Item = &Program> {
        self.programs().filter(|program| !program.is_stage())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of programs, each given by its name, its kind, and other fields.
    fn read(programs: &str) -> Result<List, Error> {
        let program = |line: &str| {
            let [name, kind, fields] = line.trim().splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let fields = fields.replace(';', "\n");
            format!("[[program]]\nname = '{name}'\ntitle = '…'\nkind = '{kind}'\n{fields}\n")
        };
        List::parse(&programs.lines().map(program).collect::<String>())
    }

    #[test]
    fn each_mistake_is_answered() {
        let cases = "\
            04-a server # => : 04-a is there twice
            05-b server follows = '06-c' => : 05-b follows 06-c, which does not come
            05-b server follows = '05-b' => : 05-b follows 05-b, which does not come
            05-b server folows = '04-a' => :10: unknown field `folows`, expected
            05-b server protocol = 3 => :10: there is no version of the protocol named 3
            05-b sever # => :9: unknown variant `sever`, expected";
        for case in cases.lines() {
            let (second, error) = case.split_once(" => ").unwrap();
            let programs = format!("04-a server #\n{second}\n03-c server #");
            let found = read(&programs).unwrap_err().to_string();
            let expected = format!("code/stages.toml{error}");
            assert!(found.starts_with(&expected), "{second}: {found}");
        }
    }

    #[test]
    fn what_follows_inherits_the_version_the_options_and_that_it_is_a_client() {
        let list = "\
            04-a server #
            05-b client protocol = 2
            06-c server follows = '04-a'; options = true
            06-d alternative follows = '06-c'; protocol = 2; command = ['sh', '{file}.sh']
            06-e solution follows = '05-b'
            07-f experiment #
            07-g experiment follows = '07-f'
            07-h solution follows = '07-f'";
        let list = read(list).unwrap();
        let said = |program: &Program| {
            let version = program.protocol as u32 + 1;
            let (options, role) = (program.options, program.role.unwrap());
            format!("{} {version} {options} {role:?}", program.path())
        };
        let said: Vec<String> = list.programs().map(said).collect();
        let expected = [
            "code/src/bin/04-a.rs 1 false Server",
            "code/src/bin/05-b.rs 2 false Client",
            "code/src/bin/06-c.rs 1 true Server",
            "code/examples/06-d.sh 2 true Server",
            "code/examples/06-e.rs 2 false Client",
            "code/src/bin/07-f.rs 1 false Experiment",
            "code/examples/07-g.rs 1 false Experiment",
            "code/examples/07-h.rs 1 false Experiment",
        ];
        assert_eq!(said, expected);
        let error = list.get("07-brokre").unwrap_err().to_string();
        let known = "04-a, 05-b, 06-c, 06-d, 06-e, 07-f, 07-g, 07-h";
        let expected = format!("there is no program named 07-brokre; there are: {known}");
        assert_eq!(error, expected);
    }
}
