//! The list of programs, `code/stages.toml`. The head of that file explains its fields.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use crate::Error;

/// Where the list is, from the root of the repository.
const FILE: &str = "code/stages.toml";

/// All programs, in the order of the book.
#[derive(Clone, Debug)]
pub struct List {
    programs: Vec<Program>,
}

/// One program. What it does not say itself it has from the program that it follows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Program {
    /// `04-broker`; its number is that of its chapter.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// What kind of a program it is.
    pub kind: Kind,
    /// The stage that it starts from, or stands beside.
    pub follows: Option<String>,
    /// The version of the protocol that it speaks.
    #[serde(default)]
    pub protocol: Version,
    /// Whether it has options besides its address.
    #[serde(default)]
    pub options: bool,
    /// The faults that it is the first without, by their numbers in the ledger.
    #[serde(default)]
    pub closes: Vec<u32>,
    /// The first server that it works with, of a client.
    pub talks_to: Option<String>,
    /// The conversations that it does not keep although its stage does, each with the reason.
    #[serde(default)]
    pub gives_up: BTreeMap<String, String>,
    /// Why it promises nothing about stopping.
    pub never_stops: Option<String>,
    /// Why nothing but its exceptions is examined: what else it keeps is a matter of chance.
    pub by_chance: Option<String>,
    /// What runs it, where that is not Cargo; `{file}` stands for the program's path without its ending.
    #[serde(default)]
    pub command: Vec<String>,
    /// Whether it is a client, or a solution of a client's exercise.
    #[serde(skip)]
    pub is_client: bool,
}

/// What kind of a program one is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A stage that is a server.
    Server,
    /// A stage that is a client.
    Client,
    /// The solution of an exercise of the chapter of its stage.
    Solution,
    /// What the chapter of its stage discusses besides.
    Alternative,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "u32")]
pub enum Version {
    /// The classic: a client hears from other peers only, `from NAME: TEXT`.
    #[default]
    One,
    /// The server speaks for itself too: `welcome NAME`, `error CODE DETAIL`.
    Two,
}

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(number: u32) -> Result<Version, String> {
        match number {
            1 => Ok(Version::One),
            2 => Ok(Version::Two),
            _ => Err(format!("there is no version {number} of the protocol")),
        }
    }
}

impl Program {
    /// Whether it is a stage: a complete program that a chapter builds up.
    pub fn is_stage(&self) -> bool {
        matches!(self.kind, Kind::Server | Kind::Client)
    }

    /// Where its source is, from the root of the repository.
    pub fn path(&self) -> String {
        let name = &self.name;
        match (self.is_stage(), self.command.is_empty()) {
            (true, _) => format!("code/src/bin/{name}.rs"),
            (false, true) => format!("code/examples/{name}.rs"),
            (false, false) => self
                .command_line()
                .into_iter()
                .find(|word| word.contains(name.as_str()))
                .unwrap_or_default(),
        }
    }

    /// The command that runs it from the root of the repository, without an address; nothing, where Cargo
    /// builds and runs it.
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
    /// When it cannot be read or understood, and when two programs have one name or one follows a program
    /// that does not come before it.
    pub fn read(root: &Path) -> Result<List, Error> {
        let text = fs::read_to_string(root.join(FILE))
            .map_err(|error| Error::io(format!("cannot read {FILE}"), error))?;
        List::parse(&text)
    }

    fn parse(text: &str) -> Result<List, Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            program: Vec<Program>,
        }
        let malformed = |what: String| Error::malformed(FILE, what);
        let File { program } = toml::from_str(text).map_err(|error| malformed(error.to_string()))?;
        let mut list = List {
            programs: Vec::new(),
        };
        for mut program in program {
            let name = program.name.clone();
            if list.get(&name).is_ok() {
                return Err(malformed(format!("{name} is there twice")));
            }
            if let Some(start) = &program.follows {
                let start = list.get(start).map_err(|_| {
                    malformed(format!("{name} follows {start}, which does not come before it"))
                })?;
                // A later version says so; nothing goes back to an earlier one, or does without options.
                program.protocol = program.protocol.max(start.protocol);
                program.options |= start.options;
                program.is_client = start.is_client;
            }
            program.is_client |= program.kind == Kind::Client;
            list.programs.push(program);
        }
        Ok(list)
    }

    /// The program of this name.
    ///
    /// # Errors
    ///
    /// When there is none; the error names those that there are.
    pub fn get(&self, name: &str) -> Result<&Program, Error> {
        let found = self.programs.iter().find(|program| program.name == name);
        found.ok_or_else(|| Error::unknown("program", name, self.programs.iter().map(|p| &*p.name)))
    }

    /// All programs.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter()
    }

    /// The stages: servers and clients.
    pub fn stages(&self) -> impl Iterator<Item = &Program> {
        self.programs().filter(|program| program.is_stage())
    }

    /// The stages that are servers.
    pub fn servers(&self) -> impl Iterator<Item = &Program> {
        self.programs()
            .filter(|program| program.kind == Kind::Server)
    }

    /// Solutions and alternatives.
    pub fn examples(&self) -> impl Iterator<Item = &Program> {
        self.programs().filter(|program| !program.is_stage())
    }
}
