//! `cargo run -- check`: examines a server against what the book has promised up to a chapter.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fs, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anstream::{eprintln, print, println};
use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result, anyhow, bail};
use notify::{RecursiveMode, Watcher as _};
use serde_json::{Value, json};

use crate::{
    conversation::{self, Conditions, Conversation, Promise, Traffic},
    play::{self, Outcome, Rules, Shortfall},
    process::{self as server, ADDR, Subject, UnderWay, raise_descriptor_limit},
    stages,
};

/// How long a server is waited for, where a conversation does not say. A server on loopback answers in
/// milliseconds; the examination of a chapter must not take minutes when it does not.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// The same for what a stage of the book does not promise, and so will not do.
const UNPROMISED: Duration = Duration::from_secs(2);

/// What an examination may ask of a server, whatever the chapter.
pub const MOST: Traffic = Traffic {
    connections: 1_000,
    bytes: 64 * 1024 * 1024,
};

/// How many conversations are held at once, at most. Each has a server of its own, and most of them wait
/// for something most of the time.
const AT_ONCE: usize = 16;

/// How many open descriptors an examination may need: one for each connection, and a few for each server. No
/// more than most systems give to everybody, so that no server works here that would not elsewhere.
const DESCRIPTORS: u64 = 1024;

/// A conversation that waits at least so long goes on beside the others, even if they share one server.
const LONG: Duration = Duration::from_secs(5);

/// How long nothing must change until a change is complete.
const QUIET: Duration = Duration::from_millis(100);

/// How long a change is waited for that never is: a file may change without end.
const RESTLESS: Duration = Duration::from_secs(1);

/// Where `cargo run` serves the book.
const BOOK: &str = "http://127.0.0.1:3000";

/// An error with all its causes, in one line.
fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const SPECIFICATION: &str = "src/en/00-specification.md";

/// What is to be examined, and how.
#[derive(Debug, Default)]
pub struct Examination {
    /// Up to which chapter, `04-broker` for example; `None` lists what there is.
    pub stage: Option<String>,
    /// One conversation only, promised or not.
    pub conversation: Option<String>,
    /// The folder of a Cargo project with a server of the reader's own.
    pub dir: Option<PathBuf>,
    /// The address of a server that runs already.
    pub addr: Option<String>,
    /// A command that starts a server, with `{addr}` in it.
    pub command: Vec<String>,
    /// Whether to go on after the first failure.
    pub all: bool,
    /// Whether to give the hints.
    pub hint: bool,
    /// Whether to print JSON.
    pub json: bool,
}

/// How one requirement was met.
enum Verdict {
    Held,
    FellShort(Box<FellShort>),
    /// The server could be played with before, and cannot be any more.
    Gone(String),
    NotExamined(String),
}

/// A requirement that was not met.
struct FellShort {
    outcome: Outcome,
    shortfall: Shortfall,
    /// What the server wrote to stderr at last.
    last_words: Vec<String>,
}

/// Examines, and prints what comes out. Says whether everything held that could be examined.
///
/// # Errors
///
/// Says why nothing could be examined: no such stage, no such conversation, a program that does not
/// build or does not listen. Whoever asked for JSON gets that in JSON, too.
pub fn check(examination: &Examination) -> Result<bool> {
    let checked = check_or_list(examination);
    if let (true, Err(error)) = (examination.json, &checked) {
        let error = json!({ "stage": examination.stage, "error": one_line(error) });
        println!("{error:#}");
    }
    checked
}

fn check_or_list(examination: &Examination) -> Result<bool> {
    let conversations = conversation::all()?;
    let names: Vec<&str> = stages::list()?.servers().map(|s| s.name.as_str()).collect();
    let Some(stage) = &examination.stage else {
        let Examination {
            dir, addr, command, ..
        } = examination;
        if dir.is_some() || addr.is_some() || !command.is_empty() {
            bail!(
                "up to which chapter? `cargo run -- check STAGE …`, where STAGE is one of {}",
                names.join(", ")
            );
        }
        match examination.json {
            true => list_as_json(&conversations),
            false => list(&conversations),
        }
        return Ok(true);
    };
    let is_solution = |c: &Conversation| c.promise == Promise::Example(stage.clone());
    let is_known = names.contains(&stage.as_str())
        || examination.conversation.is_some() && conversations.iter().any(is_solution);
    if !is_known {
        bail!(
            "there is no server named {stage}; there are: {}",
            names.join(", ")
        );
    }
    let requirements = requirements(examination, stage, &conversations)?;
    let subject = subject(examination, stage)?;
    if let Subject::Addr(addr) = subject
        && !addr.ip().is_loopback()
    {
        let playable = requirements
            .iter()
            .filter(|c| subject.cannot_play(c).is_none());
        let Traffic { connections, bytes } = playable.map(|c| c.traffic()).sum();
        eprintln!(
            "note: {addr} is not on this machine; up to {connections} connections will be made to it, and \
             {} MB sent",
            bytes.div_ceil(1_000_000)
        );
    }
    if matches!(subject, Subject::Addr(_)) {
        // Nothing is examined where nobody listens, and nothing is said before that is known.
        subject
            .start(&Conditions::default())
            .map_err(|error| anyhow!(error))?;
    }
    raise_descriptor_limit(Some(DESCRIPTORS));
    report(examination, stage, &subject, &requirements)
}

/// Examines at once, and again after each change of a file in `dir`, until it is interrupted.
///
/// # Errors
///
/// When the folder cannot be watched.
pub fn watch(dir: &Path, examine: impl Fn()) -> Result<()> {
    let (sender, changes) = mpsc::channel();
    // Paths in events are as the system knows them.
    let root = dir
        .canonicalize()
        .with_context(|| format!("there is no folder {}", dir.display()))?;
    // The build writes below the first, and editors look into the other.
    let not_ours = [target_of(&root), root.join(".git")];
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_ours = |path: &PathBuf| !not_ours.iter().any(|other| path.starts_with(other));
        // Reading a file is no change; that events were lost may hide one.
        let matters =
            event.need_rescan() || !event.kind.is_access() && event.paths.iter().any(is_ours);
        if matters {
            // Nobody listens any more when the program ends.
            let _ = sender.send(());
        }
    })?;
    watcher.watch(&root, RecursiveMode::Recursive)?;
    loop {
        // What changed before this examination is examined by it.
        while changes.try_recv().is_ok() {}
        examine();
        println!(
            "\nWaiting for a change in {} (Ctrl-C stops)",
            root.display()
        );
        changes.recv()?;
        // An editor may write a file in several steps.
        let enough = Instant::now() + RESTLESS;
        while Instant::now() < enough && changes.recv_timeout(QUIET).is_ok() {}
        println!();
    }
}

/// Where Cargo builds the project in this folder: below it, if nothing says otherwise.
fn target_of(dir: &Path) -> PathBuf {
    let metadata = Command::new(stages::cargo())
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    // Where there is no project yet, the examination says so.
    let metadata = metadata.map_or_else(|_| Vec::new(), |output| output.stdout);
    let metadata: Value = serde_json::from_slice(&metadata).unwrap_or_default();
    let target = metadata["target_directory"].as_str().map(PathBuf::from);
    target.unwrap_or_else(|| dir.join("target"))
}

/// What is to be examined: the one that was asked for, or all.
fn requirements<'a>(
    examination: &Examination,
    stage: &str,
    conversations: &'a [Conversation],
) -> Result<Vec<&'a Conversation>> {
    if let Some(name) = &examination.conversation {
        let found = conversations.iter().find(|c| c.name == *name);
        let found = found.ok_or_else(|| {
            anyhow!("there is no conversation named {name}; `cargo run -- check` lists them")
        })?;
        return Ok(vec![found]);
    }
    Ok(promised(stage, conversations))
}

/// What a stage must pass, in the order in which a learner meets it.
pub fn promised<'a>(stage: &str, conversations: &'a [Conversation]) -> Vec<&'a Conversation> {
    let mut promised: Vec<_> = conversations
        .iter()
        .filter(|c| c.is_promised_by(stage))
        .collect();
    promised.sort_by_key(|conversation| conversation.since());
    promised
}

fn subject(examination: &Examination, stage: &str) -> Result<Subject> {
    if let Some(addr) = &examination.addr {
        return Ok(Subject::Addr(resolve(addr)?));
    }
    if let Some(dir) = &examination.dir {
        return Ok(Subject::Program(build(dir)?));
    }
    if !examination.command.is_empty() {
        if !examination.command.iter().any(|word| word.contains(ADDR)) {
            bail!(
                "the command has no {ADDR}, which stands for the address where the server is to listen, as \
                 in: check {stage} -- python3 chat.py {ADDR}"
            );
        }
        return Ok(Subject::Command(examination.command.clone()));
    }
    let stages = stages::build()?;
    let program = stages.program(stage)?;
    Ok(Subject::Program(program.to_path_buf()))
}

/// The address that `HOST:PORT` stands for; of several on this machine, one at which somebody listens.
///
/// # Errors
///
/// When it stands for none.
pub fn resolve(addr: &str) -> Result<SocketAddr> {
    let addrs: Vec<SocketAddr> = addr
        .to_socket_addrs()
        .with_context(|| format!("{addr} is no address; expected HOST:PORT"))?
        .map(server::reached_at)
        .collect();
    // `localhost` is two addresses on many systems, and most servers listen at one of them.
    let listens = |addr: &SocketAddr| {
        addr.ip().is_loopback() && TcpStream::connect_timeout(addr, PATIENCE).is_ok()
    };
    let several = addrs.len() > 1;
    let listening = addrs.iter().position(|addr| several && listens(addr));
    addrs
        .get(listening.unwrap_or(0))
        .copied()
        .ok_or_else(|| anyhow!("{addr} stands for no address"))
}

/// Builds the project of a reader, and finds its one program.
fn build(dir: &Path) -> Result<PathBuf> {
    if !dir.join("Cargo.toml").is_file() {
        bail!(
            "{} holds no Cargo.toml; `cargo run -- new DIR` makes a project",
            dir.display()
        );
    }
    let output = Command::new(stages::cargo())
        .args([
            "build",
            "--bins",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "{} does not build; the compiler says why above",
            dir.display()
        );
    }
    let programs: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    match programs.as_slice() {
        [program] => Ok(program.clone()),
        [] => bail!("{} builds no program", dir.display()),
        several => bail!(
            "{} builds {} programs; give the one to examine as a command: check STAGE -- PROGRAM {{addr}}",
            dir.display(),
            several.len()
        ),
    }
}

fn list(conversations: &[Conversation]) {
    let mut chapters: BTreeMap<&str, Vec<&Conversation>> = BTreeMap::new();
    for conversation in conversations {
        if let Some(stage) = conversation.since() {
            chapters.entry(stage).or_default().push(conversation);
        }
    }
    for (chapter, conversations) in chapters {
        println!("{}{chapter}{}", BOLD.render(), BOLD.render_reset());
        for conversation in conversations {
            let until = conversation.until.as_ref().map(|until| {
                let (stage, because) = (&until.stage, &until.because);
                format!(" (until {stage}: {because})")
            });
            println!(
                "   {}{}\n      {}",
                conversation.about,
                until.unwrap_or_default(),
                dim(&conversation.name)
            );
        }
        println!();
    }
    println!("Examine a server of the book:   cargo run -- check 04-broker");
    println!("or your own:                    cargo run -- check 04-broker --dir ../my-chat");
    println!("or one conversation:            cargo run -- check 04-broker two-people-chat");
}

fn list_as_json(conversations: &[Conversation]) {
    let promised = conversations.iter().filter(|c| c.since().is_some());
    let list: Vec<Value> = promised
        .map(|conversation| {
            let mut value = description(conversation);
            value["until"] = conversation
                .until
                .as_ref()
                .map(|until| until.stage.as_str())
                .into();
            value
        })
        .collect();
    println!("{:#}", Value::from(list));
}

fn report(
    examination: &Examination,
    stage: &str,
    subject: &Subject,
    requirements: &[&Conversation],
) -> Result<bool> {
    let mut results = Vec::new();
    let (mut held, mut not_examined, mut fell_short) = (0, 0, 0);
    let mut why_not = None;
    let was_there = AtomicBool::new(false);
    let single = examination.conversation.is_some();
    let under_way = UnderWay::default();
    let examine = |number: usize| {
        let conversation = requirements[number];
        match subject.cannot_play(conversation) {
            Some(why) => Ok(Verdict::NotExamined(why.to_string())),
            None => examine(
                stage,
                subject,
                conversation,
                number,
                single && !examination.json,
                &under_way,
                &was_there,
            ),
        }
    };
    let may_take = |number: &usize| requirements[*number].may_take();
    let mut begin: Vec<usize> = (0..requirements.len()).collect();
    let lanes = match subject {
        // With one server for all conversations, they could not tell whose fault it is.
        Subject::Addr(_) => {
            let (long, short) = begin
                .into_iter()
                .partition(|number| may_take(number) >= LONG);
            vec![(long, 1), (short, 1)]
        }
        // Those that may take longest begin first, so that nobody waits for them at the end.
        _ => {
            begin.sort_by_key(|number| Reverse(may_take(number)));
            vec![(begin, AT_ONCE)]
        }
    };
    let show = |number: usize, verdict| {
        let conversation = requirements[number];
        match &verdict {
            Verdict::Held => held += 1,
            Verdict::NotExamined(why) => {
                not_examined += 1;
                why_not = Some(why.clone());
            }
            Verdict::FellShort(_) | Verdict::Gone(_) => fell_short += 1,
        }
        match examination.json {
            true => results.push(as_json(conversation, &verdict)),
            false => print_verdict(conversation, &verdict, examination),
        }
        // One that is gone does not come back.
        let gone = matches!(verdict, Verdict::Gone(_));
        fell_short == 0 || examination.all && !gone
    };
    in_order(&lanes, examine, show, || under_way.end())?;
    if let (0, 0, Some(why)) = (held, fell_short, why_not) {
        bail!("nothing could be examined: {why}");
    }
    let left = requirements.len() - held - not_examined - fell_short;
    if examination.json {
        let all = json!({
            "stage": stage,
            "held": fell_short == 0,
            "counts": {
                "held": held,
                "fell-short": fell_short,
                "not-examined": not_examined,
                "still-to-come": left,
            },
            "requirements": results,
        });
        println!("{all:#}");
    } else if !single {
        let mut sums = vec![format!("{held} held")];
        for (count, what) in [
            (fell_short, "fell short"),
            (not_examined, "not examined"),
            (left, "still to come"),
        ] {
            if count > 0 {
                sums.push(format!("{count} {what}"));
            }
        }
        println!("\n{stage}: {}", sums.join(", "));
    }
    Ok(fell_short == 0)
}

/// Does the things with these numbers, which are those from 0 on. Each lane begins its own in this order,
/// and has so many under way at once. Shows what came out in the order of the numbers, until `show` has
/// seen enough or any one fails, whatever its number; then `stop` is to bring what has begun to its end.
fn in_order<T: Send>(
    lanes: &[(Vec<usize>, usize)],
    work: impl Fn(usize) -> Result<T> + Sync,
    mut show: impl FnMut(usize, T) -> bool,
    stop: impl Fn(),
) -> Result<()> {
    let next: Vec<AtomicUsize> = lanes.iter().map(|_| AtomicUsize::new(0)).collect();
    let total: usize = lanes.iter().map(|(begin, _)| begin.len()).sum();
    let (sender, done) = mpsc::channel();
    thread::scope(|scope| {
        for ((begin, at_once), next) in lanes.iter().zip(&next) {
            for _ in 0..*at_once {
                let (work, sender) = (&work, sender.clone());
                scope.spawn(move || {
                    while let Some(&number) = begin.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // Nobody receives any more when enough is seen.
                        if sender.send((number, work(number))).is_err() {
                            break;
                        }
                    }
                });
            }
        }
        drop(sender);
        let (mut early, mut shown) = (BTreeMap::new(), 0);
        // A thread that panics ends the program with its message.
        while let Ok((number, result)) = done.recv() {
            let go_on = result.map(|result| {
                early.insert(number, result);
                while let Some(result) = early.remove(&shown) {
                    shown += 1;
                    if !show(shown - 1, result) {
                        return false;
                    }
                }
                true
            });
            if !matches!(go_on, Ok(true)) {
                for next in &next {
                    next.store(total, Ordering::Relaxed);
                }
                stop();
                return go_on.map(|_| ());
            }
        }
        Ok(())
    })
}

fn examine(
    stage: &str,
    subject: &Subject,
    conversation: &Conversation,
    number: usize,
    show: bool,
    under_way: &UnderWay,
    was_there: &AtomicBool,
) -> Result<Verdict> {
    let rules = Rules {
        patience: Some(PATIENCE),
        proof: (!conversation.is_promised_by(stage)).then_some(UNPROMISED),
        version: stages::list()?.get(stage)?.protocol,
        ..Rules::default()
    };
    let options = conversation.conditions.options.join(" ");
    let mut server = match subject.start_among(&conversation.conditions, under_way) {
        Ok(server) => server,
        // A reader's own server need not take the options of ours.
        Err(error) if !options.is_empty() => {
            let why = format!("it does not start with `{options}`: {error}");
            return Ok(Verdict::NotExamined(why));
        }
        Err(error) => match (conversation.conditions.descriptors, subject) {
            // Nor is every program to do with so few files as ours.
            (Some(descriptors), Subject::Program(_) | Subject::Command(_)) => {
                let why = format!("it does not start with {descriptors} descriptors: {error}");
                return Ok(Verdict::NotExamined(why));
            }
            (_, Subject::Addr(_)) if was_there.load(Ordering::Relaxed) => {
                return Ok(Verdict::Gone(error.to_string()));
            }
            _ if was_there.load(Ordering::Relaxed) => bail!(
                "{error}; it must listen at the address that it is given, because several run at once"
            ),
            _ => bail!(error),
        },
    };
    was_there.store(true, Ordering::Relaxed);
    let mut outcome = match subject {
        // One server for all conversations, and for whoever else examines it: nobody may meet a name of
        // another one.
        Subject::Addr(_) => play::play(
            &conversation.with_names(&format!("-{:x}-{}", process::id() & 0xfff, number + 1)),
            &mut server,
            rules,
        ),
        _ => play::play(conversation, &mut server, rules),
    };
    if show {
        print!("{}", outcome.transcript);
        outcome.transcript.clear();
    }
    Ok(match outcome.shortfall.take() {
        None => Verdict::Held,
        Some(shortfall) => Verdict::FellShort(Box::new(FellShort {
            outcome,
            shortfall,
            last_words: server.last_words(),
        })),
    })
}

const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

fn styled(style: Style, text: &str) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

fn dim(text: &str) -> String {
    styled(Style::new().dimmed(), text)
}

fn print_verdict(conversation: &Conversation, verdict: &Verdict, examination: &Examination) {
    let about = &conversation.about;
    match verdict {
        Verdict::Held => println!("{}  {about}", styled(GOOD, "✓")),
        Verdict::NotExamined(why) => println!("-  {about} ({why})"),
        Verdict::Gone(why) => println!(
            "{}  {about}\n\n   The server was there for an earlier conversation, and now it is not any more:\n   {why}",
            styled(BAD, "✗")
        ),
        Verdict::FellShort(fell_short) => {
            println!("{}  {about}\n", styled(BAD, "✗"));
            explain(conversation, fell_short, examination.hint);
        }
    }
}

/// What a teacher would say: the rule, what was said, what should have come, and why it may not have.
fn explain(conversation: &Conversation, fell_short: &FellShort, hint: bool) {
    let FellShort {
        outcome,
        shortfall,
        last_words,
    } = fell_short;
    if let Some(rule) = conversation.rule.as_deref() {
        // The tests see to it that each rule is there; a reader without the text still gets its number.
        let words = rule_in_words(rule).unwrap_or_default();
        println!("   The specification, rule {rule}: {words}\n");
    }
    if !outcome.transcript.is_empty() {
        println!("   The conversation went like this:\n");
        for line in outcome.transcript.lines() {
            println!("      {line}");
        }
        println!();
    }
    println!("   Expected: {}", shortfall.expected);
    println!("   But:      {}", styled(BAD, &shortfall.seen));
    // What it reports instead of what was expected has just been said.
    if !last_words.is_empty() && !shortfall.expected.starts_with("the server reports") {
        println!("\n   The server's last words on stderr:\n");
        for line in last_words {
            println!("      {line}");
        }
    }
    let causes = likely_causes(conversation, shortfall);
    if !causes.is_empty() {
        println!("\n   Likely causes, the likeliest first:");
        for cause in causes {
            println!("   - {cause}");
        }
    }
    match (&conversation.hint, hint) {
        (Some(text), true) => println!("\n   Hint: {text}"),
        (Some(_), false) => println!("\n   {}", dim("--hint tells the step to take.")),
        (None, _) => {}
    }
    if let Some(link) = link(conversation) {
        println!("\n   To read: {link} {}", dim("(served by `cargo run`)"));
    }
}

/// The causes that fit what was seen, the likeliest first.
pub fn likely_causes<'a>(conversation: &'a Conversation, shortfall: &Shortfall) -> Vec<&'a str> {
    let seen = format!("expected {}; {}", shortfall.expected, shortfall.seen);
    conversation
        .causes
        .iter()
        .filter(|cause| cause.when.as_ref().is_none_or(|when| when.is_match(&seen)))
        .map(|cause| cause.text.as_str())
        .collect()
}

fn link(conversation: &Conversation) -> Option<String> {
    let section = conversation.section.as_deref()?;
    let (chapter, heading) = section.split_once('#').unwrap_or((section, ""));
    Some(format!("{BOOK}/{chapter}.html#{heading}"))
}

/// The text of a rule of the specification.
///
/// # Errors
///
/// When the specification cannot be read, or has no such rule.
pub fn rule_in_words(rule: &str) -> io::Result<String> {
    let text = fs::read_to_string(stages::root().join(SPECIFICATION))?;
    let start = format!("**{rule}** ");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(start.as_str()));
    let line =
        line.ok_or_else(|| io::Error::other(format!("{SPECIFICATION} has no rule {rule}")))?;
    Ok(without_links(line))
}

/// `[text](target)` as `text`.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let linked = after
            .split_once("](")
            .and_then(|(text, after)| Some((text, after.split_once(')')?.1)));
        let Some((text, after)) = linked else { break };
        plain.push_str(before);
        plain.push_str(text);
        rest = after;
    }
    plain + rest
}

fn description(conversation: &Conversation) -> Value {
    json!({
        "name": conversation.name,
        "about": conversation.about,
        "rule": conversation.rule,
        "since": conversation.since(),
    })
}

fn as_json(conversation: &Conversation, verdict: &Verdict) -> Value {
    let mut value = description(conversation);
    match verdict {
        Verdict::Held => value["result"] = "held".into(),
        Verdict::NotExamined(why) => {
            value["result"] = "not-examined".into();
            value["why"] = why.as_str().into();
        }
        Verdict::Gone(why) => {
            value["result"] = "fell-short".into();
            value["expected"] = "the server is still there".into();
            value["seen"] = why.as_str().into();
        }
        Verdict::FellShort(fell_short) => {
            let FellShort {
                outcome,
                shortfall,
                last_words,
            } = &**fell_short;
            value["result"] = "fell-short".into();
            value["expected"] = shortfall.expected.as_str().into();
            value["seen"] = shortfall.seen.as_str().into();
            value["transcript"] = outcome.transcript.as_str().into();
            value["stderr"] = last_words.as_slice().into();
            value["causes"] = likely_causes(conversation, shortfall).into();
            value["hint"] = conversation.hint.as_deref().into();
            value["link"] = link(conversation).into();
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use super::*;

    #[test]
    fn an_examination_asks_for_no_more_than_it_may() {
        let conversations = conversation::all().unwrap();
        let mut stages: Vec<&str> = conversations
            .iter()
            .filter_map(Conversation::since)
            .collect();
        stages.sort();
        stages.dedup();
        for stage in stages {
            let mut promised = promised(stage, &conversations);
            let Traffic { connections, bytes } = promised.iter().map(|c| c.traffic()).sum();
            promised.sort_by_key(|c| {
                let Traffic { connections, bytes } = c.traffic();
                Reverse(connections * (MOST.bytes / MOST.connections) + bytes)
            });
            let largest: Vec<String> = promised.iter().take(5).map(|c| c.place.clone()).collect();
            assert!(
                connections <= MOST.connections && bytes <= MOST.bytes,
                "an examination of {stage} makes {connections} connections and sends {bytes} bytes; it \
                 may make {} and send {}; the conversations that ask for most are at {}",
                MOST.connections,
                MOST.bytes,
                largest.join(", ")
            );
        }
    }

    #[test]
    fn what_comes_early_is_shown_in_its_turn() {
        // The first is not done before the second is, whose thread goes on with the third.
        let second_is_done = Barrier::new(2);
        let mut shown = Vec::new();
        in_order(
            &[(vec![0, 1, 2, 3], 2)],
            |number| {
                if [0, 2].contains(&number) {
                    second_is_done.wait();
                }
                Ok(number)
            },
            |number, result| {
                shown.push((number, result));
                true
            },
            || panic!("nothing is to be stopped"),
        )
        .unwrap();
        assert_eq!(shown, [(0, 0), (1, 1), (2, 2), (3, 3)]);
    }

    #[test]
    fn what_cannot_be_done_is_said_at_once() {
        let (stop, stopped) = mpsc::channel();
        let stopped = Mutex::new(stopped);
        let error = in_order(
            &[(vec![0, 1], 2)],
            |number| match number {
                // It takes until all are stopped.
                0 => Ok(stopped.lock().unwrap().recv_timeout(PATIENCE)?),
                _ => bail!("it cannot be done"),
            },
            |_, ()| panic!("nothing is to be shown"),
            || stop.send(()).unwrap(),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "it cannot be done");
    }

    #[test]
    fn what_takes_long_begins_first_and_is_stopped_when_enough_is_seen() {
        let (begun, stopped) = (Mutex::new(Vec::new()), Barrier::new(2));
        let mut shown = Vec::new();
        in_order(
            &[(vec![3, 0, 1, 2], 2)],
            |number| {
                begun.lock().unwrap().push(number);
                if number == 3 {
                    stopped.wait();
                }
                Ok(number)
            },
            |number, _| {
                shown.push(number);
                false
            },
            || {
                stopped.wait();
            },
        )
        .unwrap();
        assert_eq!(shown, [0]);
        assert!(begun.lock().unwrap().contains(&3));
    }
}
