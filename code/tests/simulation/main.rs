//! The whole server under thousands of schedules. In each, a seed decides which
//! task runs next, how many bytes a read or a write takes, and what the clients
//! do. A failure names its seed: `SEED=17 cargo test -p code --lib every`
//! repeats it, and `SCHEDULES=100000` tries more than usual.

use std::{
    collections::HashMap,
    env,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use careless::{Careless, Decide};
use chat::{
    broker::{Action, Broker},
    server::{self, Options, Runtime},
};
use futures::{
    AsyncBufReadExt, AsyncWriteExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either, FutureExt, Shared},
    io::{BufReader, Lines},
};
use world::{End, Reader, World, Writer};

mod careless;
mod world;

/// How many schedules a test tries.
const SCHEDULES: u64 = 300;
/// Those who are there from the beginning to the end, and read.
const RESIDENTS: [&str; 3] = ["ann", "ben", "cem"];
/// How many messages each of them sends to all others.
const MESSAGES: usize = 6;
/// How many others come and go, and how often each comes.
const VISITORS: usize = 3;
const VISITS: usize = 4;
/// How often a visitor may be refused its own name, because lines wait that it
/// has sent before it broke off (11.4). A refusal takes a second, and each of
/// the lines may wait for the grace of 5 s.
const PATIENCE: usize = VISITS * 4 * 5;
/// The names that visitors quarrel about.
const NAMES: [&str; 2] = ["vic", "wes"];
/// For how many seconds Dan reads nothing. After the grace of 5 s he is told
/// that he was too slow, if he reads within 5 s more.
const NAPS: [u64; 5] = [1, 4, 6, 9, 12];
/// How many lines Eva sends him: more than fit into his queue.
const LINES: usize = 30;

#[test]
fn every_schedule_keeps_the_promises() {
    for seed in seeds() {
        if let Err(error) = play(seed, Broker::new()) {
            panic!("SEED={seed}: {error}");
        }
    }
}

#[test]
fn a_careless_broker_is_found_out() {
    let found = (0..SCHEDULES).find_map(|seed| {
        let error = play(seed, Careless::default()).err()?;
        Some(format!("SEED={seed}: {error}"))
    });
    println!("{}", found.expect("no schedule has found the race"));
}

/// Without this no failure could be repeated.
#[test]
fn a_seed_repeats_its_run() {
    let runs = || (0..20).map(|seed| play(seed, Broker::new()));
    let steps: Vec<Result<usize, String>> = runs().collect();
    assert_eq!(steps, runs().collect::<Vec<_>>());
    assert!(steps.windows(2).any(|two| two[0] != two[1]), "{steps:?}");
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| {
        env::var(name).ok().map(|value| value.parse().expect("a number"))
    };
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SCHEDULES").unwrap_or(SCHEDULES),
    }
}

/// What the clients of a run know together.
#[derive(Clone)]
struct Club {
    world: World,
    door: mpsc::UnboundedSender<std::io::Result<End>>,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    /// Who has been let in under a name, and has not begun to leave.
    holders: HashMap<String, usize>,
    residents: usize,
    problems: Vec<String>,
}

impl Club {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("no client panics while it takes notes")
    }

    fn problem(&self, problem: String) {
        self.notes().problems.push(problem);
    }
}

/// Plays one run, and returns how many steps it took.
fn play(seed: u64, mut broker: impl Decide) -> Result<usize, String> {
    let world = World::new(seed);
    let options = Options {
        max_line: 64,
        login_timeout: Duration::from_secs(10),
        max_connections: 100,
        max_queue: 1 + world.below(200),
        grace: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(5),
    };
    let (door, incoming) = mpsc::unbounded();
    let (leave, everybody_left) = mpsc::unbounded::<()>();
    let (all_here, here) = oneshot::channel::<()>();
    let here = here.shared();
    let club = Club { world: world.clone(), door, notes: Arc::default() };
    let all_here = Arc::new(Mutex::new(Some(all_here)));
    for me in 0..RESIDENTS.len() {
        let (club, leave) = (club.clone(), leave.clone());
        let (all_here, here) = (Arc::clone(&all_here), here.clone());
        world.spawn(async move {
            resident(&club, me, &all_here, here).await;
            drop(leave);
        });
    }
    let (gone, all_gone) = mpsc::unbounded::<()>();
    for me in 0..VISITORS {
        let (club, gone) = (club.clone(), gone.clone());
        world.spawn(async move {
            visitor(&club, me).await;
            drop(gone);
        });
    }
    drop(gone);
    let (last, leaves) = (club.clone(), leave.clone());
    world.spawn(async move {
        all_gone.collect::<Vec<()>>().await;
        heir(&last).await;
        drop(leaves);
    });
    let sleeper = club.clone();
    world.spawn(async move {
        nap(&sleeper).await;
        drop(leave);
    });
    let lost = Arc::new(Mutex::new(None));
    let (runtime, result) = (world.clone(), Arc::clone(&lost));
    world.spawn(async move {
        let stop = everybody_left.collect::<Vec<()>>();
        let decide = move |event, actions: &mut Vec<Action>| {
            broker.decide(event, actions);
        };
        let lost =
            server::serve_with(incoming, stop, options, runtime, decide).await;
        *result.lock().expect("nobody else writes it") = Some(lost);
    });
    let (unfinished, steps) = world.run();
    let notes = club.notes();
    if let Some(problem) = notes.problems.first() {
        return Err(format!("{problem}; reported: {:?}", errors(&world)));
    }
    // Visitors that have broken off may leave something undelivered.
    let has_ended = lost.lock().expect("nobody else writes it").is_some();
    if unfinished > 0 || !has_ended {
        let errors = errors(&world);
        return Err(format!(
            "{unfinished} tasks wait for ever; reported: {errors:?}"
        ));
    }
    Ok(steps)
}

/// What the server has reported, except for who has come.
fn errors(world: &World) -> Vec<String> {
    let mut reports = world.reports();
    reports.retain(|report| report.starts_with("error: "));
    reports
}

/// A client's connection.
struct Client {
    lines: Lines<BufReader<Reader>>,
    writer: Writer,
}

impl Client {
    fn connect(club: &Club) -> Client {
        let capacity = 1 + club.world.below(100);
        let (server, client) = club.world.connect(capacity);
        // An error says that the server has ended, and the next read says so.
        let _ = club.door.unbounded_send(Ok(server));
        let lines = BufReader::new(client.reader).lines();
        Client { lines, writer: client.writer }
    }

    async fn log_in(club: &Club, name: &str) -> (Client, Option<String>) {
        let mut client = Client::connect(club);
        client.send(name).await;
        let answer = client.receive().await;
        (client, answer)
    }

    /// Logs in, and notes if it is not let in.
    async fn enter(club: &Club, name: &str) -> Option<Client> {
        let (client, answer) = Client::log_in(club, name).await;
        let is_in = answer.as_deref() == Some(&format!("welcome {name}"));
        if !is_in {
            club.problem(format!("{name} is told {answer:?}"));
        }
        is_in.then_some(client)
    }

    async fn send(&mut self, line: &str) {
        // An error says that the server has closed; the next read says so too.
        let _ = self.writer.write_all(format!("{line}\n").as_bytes()).await;
    }

    async fn receive(&mut self) -> Option<String> {
        self.lines.next().await.and_then(Result::ok)
    }
}

/// Sends to all other residents, once all are there, and reads what they send.
/// Ben answers each message of Ann's to Cem.
async fn resident(
    club: &Club,
    me: usize,
    all_here: &Mutex<Option<oneshot::Sender<()>>>,
    here: Shared<oneshot::Receiver<()>>,
) {
    let name = RESIDENTS[me];
    let Some(Client { mut lines, mut writer }) =
        Client::enter(club, name).await
    else {
        return;
    };
    club.notes().residents += 1;
    if club.notes().residents == RESIDENTS.len() {
        drop(all_here.lock().expect("nobody panics").take());
    }
    // The sender is dropped to say it.
    let _ = here.await;
    let others: Vec<&str> =
        RESIDENTS.into_iter().filter(|other| *other != name).collect();
    let (mut answers, mut to_answer) = mpsc::unbounded::<String>();
    let sending = async {
        for number in 0..MESSAGES {
            let line = format!("{}: {number}\n", others.join(", "));
            // An error says that the server has closed; the reader sees it.
            let _ = writer.write_all(line.as_bytes()).await;
        }
        while let Some(answer) = to_answer.next().await {
            let _ = writer.write_all(answer.as_bytes()).await;
        }
        let _ = writer.close().await;
    };
    let reading = async {
        let mut next: HashMap<String, usize> = HashMap::new();
        let mut expected = MESSAGES * others.len();
        expected += if name == "cem" { MESSAGES } else { 0 };
        while expected > 0 {
            let Some(Ok(line)) = lines.next().await else {
                return club.problem(format!("{name} is cut off"));
            };
            let Some((from, text)) = line
                .strip_prefix("from ")
                .and_then(|line| line.split_once(": "))
            else {
                return club.problem(format!("{name} receives `{line}`"));
            };
            if !RESIDENTS.contains(&from) {
                continue;
            }
            expected -= 1;
            let series = match text.strip_prefix("re ") {
                Some(_) => format!("re {from}"),
                None => from.to_string(),
            };
            let text = text.strip_prefix("re ").unwrap_or(text);
            let seen = next.get("ann").copied().unwrap_or(0);
            let count = next.entry(series.clone()).or_default();
            if text != count.to_string() {
                return club.problem(format!(
                    "{name} receives {text} of {series}, not {count}"
                ));
            }
            if series == "re ben" && *count >= seen {
                return club.problem(format!(
                    "{name} sees the answer to {text} before the question"
                ));
            }
            *count += 1;
            if name == "ben" && from == "ann" {
                // An error says that the writing has ended with the connection.
                let _ = answers.start_send(format!("cem: re {text}\n"));
            }
        }
        drop(answers);
        while lines.next().await.is_some() {}
    };
    future::join(sending, reading).await;
}

/// Comes and goes, under names that others want as well, and under one of its
/// own, which it must get sooner or later. Sometimes it leaves again before it
/// has its answer.
async fn visitor(club: &Club, me: usize) {
    let world = &club.world;
    let (mut visit, mut refused) = (0, 0);
    while visit < VISITS {
        visit += 1;
        let own = format!("visitor-{me}");
        let name = match world.below(2) {
            0 => own.as_str(),
            _ => NAMES[world.below(NAMES.len())],
        };
        if world.below(8) == 0 {
            Client::connect(club).send(name).await;
        }
        let (mut client, answer) = Client::log_in(club, name).await;
        match answer.as_deref() {
            Some(line) if line == format!("welcome {name}") => {
                let holder = club.notes().holders.insert(name.to_string(), me);
                if let Some(holder) = holder {
                    club.problem(format!("{me} and {holder} are {name}"));
                }
            }
            Some(line) if line.starts_with("error name-taken ") => {
                if name == own {
                    refused += 1;
                    visit -= 1;
                }
                if refused > PATIENCE {
                    let problem = format!("{me} does not get its own name");
                    return club.problem(problem);
                }
                continue;
            }
            answer => {
                return club.problem(format!("{me} is told {answer:?}"));
            }
        }
        let Client { lines, writer } = &mut client;
        let sending = async {
            for number in 0..world.below(4) {
                let to = ["ann, ben", "cem", "dan", "vic,wes", "nobody"];
                let to = to[world.below(to.len())];
                let line = format!("{to}: {visit} {number}\n");
                // An error says that the server has closed; the reader sees it.
                let _ = writer.write_all(line.as_bytes()).await;
                let time = world.below(1000) as u64;
                world.sleep(Duration::from_millis(time)).await;
            }
        };
        // Who does not read its errors while it sends may wait for itself.
        let reading = async { while lines.next().await.is_some() {} };
        let is_cut_off = matches!(
            future::select(pin!(sending), pin!(reading)).await,
            Either::Right(_)
        );
        if is_cut_off {
            return club.problem(format!("{me} is cut off"));
        }
        if world.below(2) == 0 {
            let time = world.below(3000) as u64;
            world.sleep(Duration::from_millis(time)).await;
        }
        club.notes().holders.remove(name);
        if world.below(2) == 0 {
            continue;
        }
        // An error says that the server has closed already.
        let _ = client.writer.close().await;
        while let Some(line) = client.receive().await {
            if !line.starts_with("from ") && !line.starts_with("error ") {
                club.problem(format!("{me} receives `{line}`"));
            }
        }
    }
}

/// Takes the names that visitors have quarrelled about, when all have gone, and
/// nothing that they have sent can still wait.
async fn heir(club: &Club) {
    club.world.sleep(Duration::from_secs(PATIENCE as u64)).await;
    for name in NAMES {
        Client::enter(club, name).await;
    }
}

/// Dan takes a nap while Eva writes to him, and then reads. If he has slept for
/// longer than the grace, he is told; if not, he gets all that she has sent, and
/// what he writes to himself much later. Fay sends him one line and breaks off;
/// when she comes back, she is let in, though her line still waits (8.4).
async fn nap(club: &Club) {
    let Some(mut dan) = Client::enter(club, "dan").await else { return };
    let Some(mut eva) = Client::enter(club, "eva").await else { return };
    let nap = NAPS[club.world.below(NAPS.len())];
    let sending = async {
        for number in 0..LINES {
            let line = format!("dan: {number}\n");
            // An error says that the server has closed; the reader sees it.
            let _ = eva.writer.write_all(line.as_bytes()).await;
        }
        let _ = eva.writer.close().await;
    };
    let answers = async {
        while let Some(Ok(line)) = eva.lines.next().await {
            if line != "error unknown-peer dan" {
                club.problem(format!("eva receives `{line}`"));
            }
        }
    };
    let coming_back = async {
        club.world.sleep(Duration::from_millis(500)).await;
        if let Some(mut fay) = Client::enter(club, "fay").await {
            fay.send("dan: are you there?").await;
        }
        Client::enter(club, "fay").await;
    };
    let reading = async {
        club.world.sleep(Duration::from_secs(nap)).await;
        if nap > 10 {
            return;
        }
        let (mut read, mut is_told) = (0, false);
        while read < LINES
            && let Some(line) = dan.receive().await
        {
            let is_of_eva = line.starts_with("from eva: ");
            if line == format!("from eva: {read}") && !is_told {
                read += 1;
            } else if line.starts_with("error too-slow ") && !is_told {
                is_told = true;
            } else if is_of_eva || !line.starts_with("from ") || is_told {
                club.problem(format!("dan receives `{line}`"));
            }
        }
        if (read == LINES, is_told) != (nap < 5, nap > 5) {
            club.problem(format!(
                "dan, after {nap} s, reads {read} lines; told: {is_told}"
            ));
        }
        // Long after somebody has waited for him, nobody does.
        let mut later = pin!(club.world.sleep(Duration::from_secs(6)));
        while let Either::Right((Some(_), _)) =
            future::select(&mut later, pin!(dan.receive())).await
        {}
        for number in 0..if is_told { 0 } else { 2 } {
            dan.send(&format!("dan: {number}")).await;
            let wanted = format!("from dan: {number}");
            while let line = dan.receive().await
                && line.as_ref() != Some(&wanted)
            {
                if !line.is_some_and(|line| line.starts_with("from ")) {
                    return club.problem("dan is cut off".into());
                }
            }
        }
    };
    future::join4(sending, answers, coming_back, reading).await;
}
