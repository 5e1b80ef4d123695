//! The mistakes that learners make, and what `cargo run -- check` says of each.
//!
//! A file `tests/mistakes/STAGE/NAME.patch` turns a stage of the book into a server with one mistake.
//! Before its first `---` it says what the mistake is, which conversation catches it, and how the cause
//! begins that the conversation names for it:
//!
//! ```text
//! mistake: The reply is sent without its line feed.
//! caught by: a-message-to-yourself-comes-back
//! cause: The line is written without its line feed
//! ```
//!
//! A race may be caught by one of several conversations, `A or B`, and `tries: 20` plays those that often.
//!
//! Each such server is built and examined as `check` examines a reader's: what its stage promises is
//! played in order until the first shortfall. It must start and report its connections, which is the
//! first requirement of every stage; all that comes before the conversation that catches it must hold, so
//! from `04-broker` on two people can chat with most of these servers. The last trial demands that the
//! first cause that a reader is told is the mistake that was made, for nine out of ten of them.

use std::{
    collections::HashMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};

mod support;

use examiner::{
    check,
    conversation::{self, Conversation},
    play::{self, Rules, Shortfall},
    process::Subject,
    stages::{self, Stages},
};
use libtest_mimic::{Arguments, Trial};

/// How many mistakes there are at least.
const ENOUGH: usize = 40;

/// Of how many in ten the first cause is the mistake.
const NAMED_IN_TEN: usize = 9;

/// The first requirement of every stage: a server that starts meets it, whatever else is wrong.
const HAPPY: &str = "each-connection-is-reported";

/// Mistakes that are examined at once.
const THREADS: usize = 32;

/// Servers that run at once. They wait for sockets more than they compute.
const SERVERS: usize = 48;

/// Compilers that run at once.
const COMPILERS: usize = 2;

/// The libraries of the stages.
const EXTERN: [&str; 6] = [
    "async_std",
    "clap",
    "ctrlc",
    "futures",
    "socket2",
    "unicode_normalization",
];

/// With which patience a conversation that should hold is played again: dozens of servers run at once
/// here, and that of `check` is meant for one. The last time it is that of the other tests.
const AGAIN: [Duration; 2] = [check::PATIENCE, conversation::PATIENCE];

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match trials() {
        Ok((mistakes, trials)) => {
            // Compilers leave the servers no time; so all of them come first.
            if arguments.filter.is_none() && !arguments.list {
                mistakes.compile();
            }
            libtest_mimic::run(&arguments, trials).exit_code()
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Result<(Arc<Mistakes>, Vec<Trial>)> {
    let stages = stages::build()?;
    let conversations = conversation::all().map_err(|error| error.to_string())?;
    let folder = stages::root().join("tests/mistakes");
    let unreadable = |error: io::Error| format!("{}: {error}", folder.display());
    let mut all = Vec::new();
    for stage in files(&folder).map_err(unreadable)? {
        for patch in files(&stage).map_err(unreadable)? {
            all.push(Mistake::read(&patch, &conversations)?);
        }
    }
    let mistakes = Arc::new(Mistakes {
        compilers: Permits::new(COMPILERS),
        servers: Permits::new(SERVERS),
        stages,
        conversations,
        all,
    });
    let order = (0..mistakes.all.len()).map(|index| {
        let played = mistakes.all[index].played(&mistakes.conversations);
        (played.iter().map(|c| c.may_take()).sum(), index)
    });
    let order = support::spread(order.collect());
    let mut trials: Vec<Trial> = order
        .into_iter()
        .map(|index| {
            let mistake = &mistakes.all[index];
            let ignored = mistake
                .caught_by
                .iter()
                .flat_map(|name| mistakes.conversations.iter().find(|c| c.name == *name))
                .any(|conversation| !conversation.platform.is_here());
            let (name, mistakes) = (mistake.name(), Arc::clone(&mistakes));
            Trial::test(name, move || {
                mistakes.examined(index).map(|_| ()).map_err(Into::into)
            })
            .with_ignored_flag(ignored)
        })
        .collect();
    let all = Arc::clone(&mistakes);
    let table = Trial::test("the first cause is the mistake", move || {
        all.table().map_err(Into::into)
    });
    let all = Arc::clone(&mistakes);
    trials.push(Trial::test("a shortfall is explained", move || {
        explained(all.stages, &all.conversations).map_err(Into::into)
    }));
    // Where some conversations cannot be played, some mistakes are not caught.
    trials.push(table.with_ignored_flag(!cfg!(target_os = "linux")));
    Ok((mistakes, trials))
}

/// Each conversation that a stage must pass says why it may not, what to do, and what to read.
fn explained(stages: &Stages, conversations: &[Conversation]) -> Result<()> {
    let mut wrong = Vec::new();
    for conversation in conversations {
        let promised = stages
            .names()
            .iter()
            .any(|stage| conversation.is_promised_by(stage));
        if !promised {
            continue;
        }
        let mut needs = |what: String| wrong.push(format!("{}: {what}", conversation.place));
        if conversation.causes.is_empty() {
            needs("it needs a line `cause \"…\"` after `about`".into());
        }
        if conversation.hint.is_none() {
            needs("it needs a line `hint \"…\"` after `about`".into());
        }
        let Some(section) = &conversation.section else {
            needs("it needs a line `section \"NN-name#heading\"` after `about`".into());
            continue;
        };
        let (chapter, heading) = section.split_once('#').unwrap_or((section, ""));
        let file = stages::root().join(format!("src/en/{chapter}.md"));
        let Ok(text) = fs::read_to_string(file) else {
            needs(format!("there is no chapter {chapter}"));
            continue;
        };
        let ids: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("##"))
            .map(id)
            .collect();
        if !ids.iter().any(|id| id == heading) {
            needs(format!(
                "{chapter} has no heading {heading}, but {}",
                ids.join(", ")
            ));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n")),
    }
}

/// The id that mdBook gives a heading.
fn id(heading: &str) -> String {
    heading
        .trim_matches(['#', ' '])
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// A patch, and what it says of itself.
struct Mistake {
    stage: String,
    file: String,
    text: String,
    caught_by: Vec<String>,
    cause: String,
    tries: usize,
    examined: OnceLock<Result<Examined>>,
}

/// How the examination of a server ended.
#[derive(Clone)]
struct Examined {
    caught_by: String,
    seen: String,
    causes: Vec<String>,
    named: bool,
}

impl Mistake {
    fn read(path: &Path, conversations: &[Conversation]) -> Result<Mistake> {
        let part = |path: Option<&Path>| {
            path.and_then(Path::file_stem)
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let (stage, file) = (part(path.parent()), part(Some(path)));
        let text = fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?
            .replace("\r\n", "\n");
        let says = |key: &str| {
            text.lines()
                .take_while(|line| !line.starts_with("---"))
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
                .map(str::to_string)
        };
        let must = |key: &str| {
            says(key).ok_or_else(|| {
                format!(
                    "tests/mistakes/{stage}/{file}.patch: expected a line `{key}: …` before `---`"
                )
            })
        };
        must("mistake")?;
        let caught_by: Vec<String> = must("caught by")?
            .split(" or ")
            .map(str::to_string)
            .collect();
        if let Some(name) = caught_by.iter().find(|name| {
            !conversations
                .iter()
                .any(|c| c.name == **name && c.is_promised_by(&stage))
        }) {
            return Err(format!(
                "tests/mistakes/{stage}/{file}.patch: {stage} promises no conversation {name}"
            ));
        }
        let tries = says("tries").map_or(Ok(1), |tries| tries.parse());
        Ok(Mistake {
            caught_by,
            cause: must("cause")?,
            tries: tries.map_err(|error| format!("{stage}/{file}: tries: {error}"))?,
            examined: OnceLock::new(),
            stage,
            file,
            text,
        })
    }

    fn name(&self) -> String {
        format!("{}/{}", self.stage, self.file)
    }

    /// What its server is examined with until it is caught, if it is caught where it should be.
    fn played<'a>(&self, conversations: &'a [Conversation]) -> Vec<&'a Conversation> {
        let mut promised = check::promised(&self.stage, conversations);
        let last = promised
            .iter()
            .rposition(|conversation| self.caught_by.contains(&conversation.name));
        promised.truncate(last.map_or(0, |last| last + 1));
        promised
    }

    /// The program with the mistake.
    fn source(&self) -> Result<String> {
        let (name, stage) = (self.name(), &self.stage);
        let renew = || {
            format!(
                "tests/mistakes/{name}.patch does not fit code/src/bin/{stage}.rs any more. To renew it, \
                 make its mistake in a copy of the stage, take `diff -u code/src/bin/{stage}.rs COPY`, and \
                 put that after the lines of the patch that stand before `---`"
            )
        };
        let program = stages::root().join(format!("code/src/bin/{stage}.rs"));
        let program = fs::read_to_string(&program)
            .map_err(|error| format!("{}: {error}", program.display()))?
            .replace("\r\n", "\n");
        let start = self.text.find("--- ").unwrap_or(self.text.len());
        let patch = diffy::Patch::from_str(&self.text[start..])
            .map_err(|error| format!("{}: {error}", renew()))?;
        diffy::apply(&program, &patch).map_err(|error| format!("{}: {error}", renew()))
    }
}

/// All of them, and what they are examined with.
struct Mistakes {
    stages: &'static Stages,
    conversations: Vec<Conversation>,
    all: Vec<Mistake>,
    compilers: Permits,
    servers: Permits,
}

impl Mistakes {
    /// Builds all programs. What does not build is reported by its trial.
    fn compile(&self) {
        thread::scope(|scope| {
            for mistake in &self.all {
                // The permits keep all but a few of these threads waiting.
                scope.spawn(|| drop(self.program(mistake)));
            }
        });
    }

    /// Builds one program, unless it is built. Its file has a name that changes with all that it is
    /// made of.
    fn program(&self, mistake: &Mistake) -> Result<PathBuf> {
        let name = mistake.name().replace('/', "-");
        let source = mistake.source()?;
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        // Cargo gives a library another name when its version, its features or the compiler change.
        for file in files(self.stages.deps()).map_err(|error| error.to_string())? {
            if file
                .extension()
                .is_some_and(|extension| extension == "rlib")
            {
                file.file_name().hash(&mut hasher);
            }
        }
        let folder = stages::root().join("target/mistakes");
        let hash = format!("{:016x}", hasher.finish());
        let program = folder.join(format!("{name}-{hash}{}", std::env::consts::EXE_SUFFIX));
        let _permit = self.compilers.wait();
        if program.is_file() {
            return Ok(program);
        }
        let cannot = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(cannot)?;
        // What it was before: nobody needs it any more.
        for file in files(&folder).map_err(cannot)? {
            let old = file.file_name().is_some_and(|file| {
                let file = file.to_string_lossy();
                let rest = file.strip_prefix(&name);
                rest.and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(|rest| rest.len() >= 16 && rest[..16].chars().all(is_hexadecimal))
            });
            if old {
                fs::remove_file(&file).map_err(cannot)?;
            }
        }
        let source_file = folder.join(format!("{name}.rs"));
        fs::write(&source_file, source).map_err(cannot)?;
        // Under another name until it is whole.
        let unfinished = folder.join(format!("{name}.unfinished"));
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--edition", "2024", "--crate-type", "bin"])
            .args(["--crate-name", "mistake", "--cap-lints", "allow"])
            .args(EXTERN.map(|name| ["--extern", name]).concat())
            .args(["-C", "strip=symbols"])
            .arg("-L")
            .arg(self.stages.deps())
            .arg("-o")
            .arg(&unfinished)
            .arg(&source_file)
            .output()
            .map_err(|error| format!("cannot run rustc: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "tests/mistakes/{}.patch: the program does not compile\n{}",
                mistake.name(),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        fs::rename(&unfinished, &program).map_err(cannot)?;
        Ok(program)
    }

    fn examined(&self, index: usize) -> Result<Examined> {
        let mistake = &self.all[index];
        mistake
            .examined
            .get_or_init(|| self.examine(mistake))
            .clone()
    }

    fn examine(&self, mistake: &Mistake) -> Result<Examined> {
        let subject = Subject::Program(self.program(mistake)?);
        let play = |conversation: &Conversation, patience| {
            let rules = Rules {
                patience: Some(patience),
                version: stages::version(&mistake.stage),
                ..Rules::default()
            };
            let _permit = self.servers.wait();
            let mut server = subject.start(&conversation.conditions)?;
            Ok(play::play(conversation, &mut server, rules).shortfall)
        };
        let mut promised = check::promised(&mistake.stage, &self.conversations);
        promised.retain(|conversation| subject.cannot_play(conversation).is_none());
        // What may take seconds is played beside what comes before it.
        let beside = mistake.played(&self.conversations);
        let beside = beside.into_iter().filter(|conversation| {
            let catches = mistake.caught_by.contains(&conversation.name);
            (catches || !conversation.may_take().is_zero())
                && subject.cannot_play(conversation).is_none()
        });
        thread::scope(|scope| {
            let play = &play;
            let mut beside: HashMap<&str, _> = beside
                .map(|conversation| {
                    let thread = scope.spawn(|| play(conversation, check::PATIENCE));
                    (conversation.name.as_str(), thread)
                })
                .collect();
            self.in_order(mistake, &promised, |conversation, patience| {
                match beside.remove(conversation.name.as_str()) {
                    Some(thread) => thread.join().unwrap_or_else(|_| Err("it panics".into())),
                    None => play(conversation, patience),
                }
            })
        })
    }

    /// Finds the first shortfall, and compares it with what the mistake says.
    fn in_order(
        &self,
        mistake: &Mistake,
        promised: &[&Conversation],
        mut play: impl FnMut(&Conversation, Duration) -> Result<Option<Shortfall>>,
    ) -> Result<Examined> {
        let name = mistake.name();
        let mut held = Vec::new();
        let mut last = None;
        for conversation in promised {
            let catches = mistake.caught_by.contains(&conversation.name);
            let mut found = None;
            for _ in 0..if catches { mistake.tries } else { 1 } {
                found = play(conversation, check::PATIENCE)?;
                if found.is_some() {
                    break;
                }
            }
            if !catches {
                for patience in AGAIN {
                    if found.is_some() {
                        found = play(conversation, patience)?;
                    }
                }
            }
            match found {
                None => held.push(conversation.name.as_str()),
                Some(found) => {
                    last = Some((*conversation, found));
                    break;
                }
            }
        }
        let wanted = mistake.caught_by.join(" or ");
        let Some((conversation, shortfall)) = last else {
            return Err(format!(
                "tests/mistakes/{name}.patch: nothing falls short, but it says `caught by: {wanted}`; is it \
                 a race that needs more `tries: `?"
            ));
        };
        let causes: Vec<String> = check::likely_causes(conversation, &shortfall)
            .into_iter()
            .map(str::to_string)
            .collect();
        let examined = Examined {
            caught_by: conversation.name.clone(),
            seen: format!("expected {}; {}", shortfall.expected, shortfall.seen),
            named: causes
                .first()
                .is_some_and(|cause| cause.starts_with(&mistake.cause)),
            causes,
        };
        if !mistake.caught_by.contains(&conversation.name) {
            return Err(format!(
                "tests/mistakes/{name}.patch: it says `caught by: {wanted}`, but the first to fall short is \
                 {}: {}\n  causes: {:#?}",
                examined.caught_by, examined.seen, examined.causes
            ));
        }
        if !held.contains(&HAPPY) {
            return Err(format!(
                "tests/mistakes/{name}.patch: a server with this mistake does not even keep {HAPPY}; choose \
                 another mistake"
            ));
        }
        if !conversation
            .causes
            .iter()
            .any(|cause| cause.text.starts_with(&mistake.cause))
        {
            return Err(format!(
                "tests/mistakes/{name}.patch: no cause of {} begins with `{}`\n  {}\n  causes: {:#?}",
                conversation.name, mistake.cause, examined.seen, examined.causes
            ));
        }
        Ok(examined)
    }

    /// Prints all of them, and demands that there are enough and that enough are named.
    fn table(&self) -> Result<()> {
        let results: Vec<Result<Examined>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.all.len())
                .map(|index| scope.spawn(move || self.examined(index)))
                .collect();
            threads
                .into_iter()
                .map(|thread| match thread.join() {
                    Ok(result) => result,
                    Err(_) => Err("it panics".into()),
                })
                .collect()
        });
        let mut named = 0;
        for (mistake, result) in self.all.iter().zip(&results) {
            let (mark, rest) = match result {
                Ok(examined) if examined.named => (
                    "named ",
                    format!("{}: {}", examined.caught_by, examined.causes[0]),
                ),
                Ok(examined) => (
                    "missed",
                    format!("{}; {}", examined.caught_by, cut(&examined.seen)),
                ),
                Err(_) => ("failed", "see its own trial".into()),
            };
            named += usize::from(mark == "named ");
            println!("{mark} {}: {rest}", mistake.name());
        }
        println!("{named} of {} mistakes are the first cause", self.all.len());
        if self.all.len() < ENOUGH {
            return Err(format!(
                "tests/mistakes: expected at least {ENOUGH} patches, found {}",
                self.all.len()
            ));
        }
        if named * 10 < self.all.len() * NAMED_IN_TEN {
            return Err(format!(
                "the first cause is the mistake for {named} of {} only; expected {NAMED_IN_TEN} of 10: \
                 improve the causes in tools/examiner/conversations",
                self.all.len()
            ));
        }
        Ok(())
    }
}

fn is_hexadecimal(c: char) -> bool {
    c.is_ascii_hexdigit()
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Lets a few threads go on at once.
struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

impl Permits {
    fn new(count: usize) -> Permits {
        Permits {
            free: Mutex::new(count),
            returned: Condvar::new(),
        }
    }

    fn wait(&self) -> Permit<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .returned
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Permit(self)
    }
}

/// Is given back when it is dropped.
struct Permit<'a>(&'a Permits);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}
