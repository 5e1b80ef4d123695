//! What is measured: each scenario is a load, and what it tells of a server.

use std::{
    mem,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use examiner::process::Process;
use hdrhistogram::Histogram;

use super::{
    generator::Generator,
    machine::{Meter, Spent},
};

/// Bytes of the text of a message: about as long as what people write.
const TEXT: usize = 40;

/// Bytes of the text of a message that is to make a line of 100 bytes when it is delivered.
const LONG_TEXT: usize = 88;

/// How many lines of one client that writes to many are under way at once: enough that it never waits
/// for a line to be written, and few enough for a server without limits.
const FAN_OUT_WINDOW: usize = 1_000;

/// How much of the time is left out at the start, while the server finds its pace.
const WARM_UP: f64 = 0.2;

/// How long a load that a server may refuse to take goes on, in seconds.
const FLOOD: f64 = 10.0;

/// How long nothing has come when all that will come to a client has come.
const QUIET: Duration = Duration::from_secs(1);

/// How many bytes of such a load are ready to be written.
const READY: usize = 64 * 1024;

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The higher.
    Higher,
    /// The lower.
    Lower,
}

/// What a number says.
#[derive(Debug, PartialEq, Eq)]
pub struct Measure {
    /// What is measured, with its unit: `messages/s`.
    pub name: &'static str,
    /// Which of two servers it praises; `None` for what only explains the others.
    pub better: Option<Better>,
}

const fn measure(name: &'static str, better: Option<Better>) -> Measure {
    Measure { name, better }
}

const MESSAGES: Measure = measure("messages/s", Some(Better::Higher));
const SERVER_CPU: Measure = measure("server CPU µs/message", Some(Better::Lower));
const CONNECTION_MEMORY: Measure = measure("memory kB/connection", Some(Better::Lower));
const P50: Measure = measure("p50 µs", Some(Better::Lower));
const P99: Measure = measure("p99 µs", Some(Better::Lower));
const P999: Measure = measure("p99.9 µs", Some(Better::Lower));
const UNDISTURBED: Measure = measure("p99 µs before", None);
const DISTURBED: Measure = measure("p99 µs meanwhile", Some(Better::Lower));
const STALL: Measure = measure("longest wait ms", Some(Better::Lower));
const GROWTH: Measure = measure("memory growth MB", Some(Better::Lower));
const REFUSED: Measure = measure("refused messages", None);
const LOST: Measure = measure("lost messages", Some(Better::Lower));
const TAKEN: Measure = measure("taken up MB", None);
const CLOSED: Measure = measure("closed (1: yes)", None);
const CYCLES: Measure = measure("visits/s", Some(Better::Higher));
const VISIT_CPU: Measure = measure("server CPU µs/visit", Some(Better::Lower));
const LOGINS: Measure = measure("logins/s", None);
const FULL_CPU: Measure = measure("server busy % while full", Some(Better::Lower));
const SERVER_BUSY: Measure = measure("server busy %", None);
/// How busy the generator was. Near 100 % the server may be faster than it was measured.
pub const GENERATOR_BUSY: Measure = measure("generator busy %", None);
/// How much of the time other programs kept the generator from its processor.
pub const GENERATOR_WAITED: Measure = measure("generator kept waiting %", None);

/// One number.
pub type Reading = (&'static Measure, f64);

/// What clients do to a server.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// In each of these pairs, one writes to the other, until so many of its messages are under way.
    Pairs { pairs: usize, ahead: usize },
    /// In each pair one message goes to and fro.
    PingPong { pairs: usize },
    /// One client writes each line to all of these.
    FanOut { recipients: usize },
    /// These clients write to one, until so many messages of each are under way.
    FanIn { senders: usize, ahead: usize },
    /// These clients write at a fixed rate, in messages a second, in turn.
    Latency { clients: usize, rate: u32 },
    /// So many clients log in and stay.
    Idle { connections: usize },
    /// One client writes so many messages to one that does not read, while others converse.
    SlowReader { messages: u64 },
    /// So many clients at a time log in, write one message, and leave.
    Churn { clients: usize },
    /// One client writes so many bytes without a line feed.
    EndlessLine { bytes: u64 },
    /// More clients connect than the server may have descriptors.
    Descriptors { limit: u32 },
}

/// One kind of measurement.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// `pairs-50`.
    pub name: &'static str,
    /// What is measured, in one sentence.
    pub about: &'static str,
    /// What clients do.
    pub load: Load,
}

/// All scenarios, in the order in which they are run.
pub const SCENARIOS: [Scenario; 14] = [
    Scenario {
        name: "pairs-1",
        about: "One client writes to another as fast as it can, 10,000 messages ahead at most.",
        load: Load::Pairs {
            pairs: 1,
            ahead: 10_000,
        },
    },
    Scenario {
        name: "pairs-50",
        about: "In 50 pairs, one writes to the other as fast as it can, 1,000 messages ahead at most.",
        load: Load::Pairs {
            pairs: 50,
            ahead: 1_000,
        },
    },
    Scenario {
        name: "pairs-500",
        about: "In 500 pairs, one writes to the other as fast as it can, 1,000 messages ahead at most.",
        load: Load::Pairs {
            pairs: 500,
            ahead: 1_000,
        },
    },
    Scenario {
        name: "ping-pong-50",
        about: "In each of 50 pairs one message goes to and fro; the time is that of one way.",
        load: Load::PingPong { pairs: 50 },
    },
    Scenario {
        name: "ping-pong-500",
        about: "In each of 500 pairs one message goes to and fro; the time is that of one way.",
        load: Load::PingPong { pairs: 500 },
    },
    Scenario {
        name: "fan-out-100",
        about: "One client writes lines to 100 others, 1,000 lines ahead at most; each copy counts.",
        load: Load::FanOut { recipients: 100 },
    },
    Scenario {
        name: "fan-out-500",
        about: "One client writes lines to 500 others, 1,000 lines ahead at most; each copy counts.",
        load: Load::FanOut { recipients: 500 },
    },
    Scenario {
        name: "fan-in",
        about: "50 clients write to one as fast as they can, 1,000 messages ahead at most.",
        load: Load::FanIn {
            senders: 50,
            ahead: 1_000,
        },
    },
    Scenario {
        name: "latency",
        about: "100 clients write 5,000 messages a second by the clock; how long after its time does \
                each arrive?",
        load: Load::Latency {
            clients: 100,
            rate: 5_000,
        },
    },
    Scenario {
        name: "idle",
        about: "10,000 clients log in and say nothing more; how much memory does each cost?",
        load: Load::Idle {
            connections: 10_000,
        },
    },
    Scenario {
        name: "slow-reader",
        about: "One client is written 1,000,000 lines of 100 bytes and never reads; how do the server \
                and 20 others fare who write 1,000 messages a second by the clock?",
        load: Load::SlowReader {
            messages: 1_000_000,
        },
    },
    Scenario {
        name: "churn",
        about: "32 clients at a time connect, log in, write one message to themselves, and leave.",
        load: Load::Churn { clients: 32 },
    },
    Scenario {
        name: "endless-line",
        about: "One client writes 200 MB without a line feed.",
        load: Load::EndlessLine { bytes: 200_000_000 },
    },
    Scenario {
        name: "descriptors",
        about: "More clients connect than the server may have descriptors, 64; then they leave, and a \
                new one must be served.",
        load: Load::Descriptors { limit: 64 },
    },
];

/// The clients of one measurement, and the server that they connect to.
pub struct Run<'a> {
    /// The clients.
    pub generator: &'a mut Generator,
    /// The server.
    pub server: Process,
    /// How long to measure, in seconds.
    pub seconds: f64,
}

impl Load {
    /// Puts the load on a server, and says what was measured.
    ///
    /// # Errors
    ///
    /// When a message is lost, damaged, doubled or out of order, when a client is sent away, or when
    /// the server does not do what the scenario is about.
    pub fn run(&self, run: &mut Run) -> Result<Vec<Reading>> {
        match *self {
            Load::Pairs { pairs, ahead } => run.pairs(pairs, ahead),
            Load::PingPong { pairs } => run.ping_pong(pairs),
            Load::FanOut { recipients } => run.fan_out(recipients),
            Load::FanIn { senders, ahead } => run.fan_in(senders, ahead),
            Load::Latency { clients, rate } => run.latency(clients, rate),
            Load::Idle { connections } => run.idle(connections),
            Load::SlowReader { messages } => run.slow_reader(messages),
            Load::Churn { clients } => run.churn(clients),
            Load::EndlessLine { bytes } => run.endless_line(bytes),
            Load::Descriptors { limit } => run.descriptors(limit),
        }
    }

    /// How many connections it needs at once, beside a few.
    pub fn connections(&self) -> u64 {
        match *self {
            Load::Idle { connections } => connections as u64,
            _ => 1_100,
        }
    }

    /// The limit on the descriptors of the server, if there is one.
    pub fn descriptors(&self) -> Option<u32> {
        match *self {
            Load::Descriptors { limit } => Some(limit),
            _ => None,
        }
    }
}

/// How busy both sides were.
fn busy(spent: Spent) -> impl Iterator<Item = Reading> {
    let percent = move |cpu: Option<f64>| cpu.map(|cpu| 100.0 * cpu / spent.seconds);
    [
        (&SERVER_BUSY, percent(spent.server)),
        (&GENERATOR_BUSY, percent(spent.generator)),
        (&GENERATOR_WAITED, percent(spent.waited)),
    ]
    .into_iter()
    .filter_map(|(measure, value)| Some((measure, value?)))
}

/// What the delivery of so many messages has cost.
fn throughput(messages: u64, spent: Spent) -> Vec<Reading> {
    let mut readings = vec![(&MESSAGES, messages as f64 / spent.seconds)];
    if let Some(server) = spent.server {
        readings.push((&SERVER_CPU, 1e6 * server / messages.max(1) as f64));
    }
    readings
}

/// The longest time that is told from longer ones, in nanoseconds: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// Times in nanoseconds.
fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are far enough apart")
}

fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

fn microseconds(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1e3
}

impl Run<'_> {
    fn clients(&mut self, letter: char, count: usize) -> Result<Vec<usize>> {
        let names = (1..=count).map(|number| format!("{letter}{number}"));
        Ok(self.generator.log_in(names)?.collect())
    }

    /// Goes on as `step` says, which counts, for the time of a measurement. Returns what was counted
    /// after the first part of it, and what that has cost.
    fn measured(
        &mut self,
        mut step: impl FnMut(&mut Generator) -> Result<u64>,
    ) -> Result<(u64, Spent)> {
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < WARM_UP * self.seconds {
            step(self.generator)?;
        }
        // A step may take long; what follows has its own time.
        let meter = Meter::start(self.server);
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed().as_secs_f64() < (1.0 - WARM_UP) * self.seconds {
            count += step(self.generator)?;
        }
        Ok((count, meter.spent()))
    }

    fn pairs(&mut self, pairs: usize, ahead: usize) -> Result<Vec<Reading>> {
        let from = self.clients('a', pairs)?;
        let to = self.clients('b', pairs)?;
        self.write(&from, &to, ahead)
    }

    fn fan_in(&mut self, senders: usize, ahead: usize) -> Result<Vec<Reading>> {
        let from = self.clients('a', senders)?;
        let to = self.clients('b', 1)?[0];
        self.write(&from, &vec![to; senders], ahead)
    }

    /// Each of `from` writes to the one of `to` in its place.
    fn write(&mut self, from: &[usize], to: &[usize], ahead: usize) -> Result<Vec<Reading>> {
        let connections = self.generator.clients().len();
        let memory = self.server.memory();
        for (&from, &to) in from.iter().zip(to) {
            self.generator.route(from, &[to], TEXT);
            self.generator.send(from, ahead)?;
        }
        let mut credit = vec![0; connections];
        let (messages, spent) = self.measured(|generator| {
            generator.turn(None)?;
            let mut count = 0;
            let arrivals = mem::take(&mut generator.arrivals);
            for arrival in &arrivals {
                let credit = &mut credit[arrival.sender];
                let arrived = (arrival.numbers.end - arrival.numbers.start) as usize;
                count += arrived as u64;
                *credit += arrived;
                // A client that has much to say does not write it line by line.
                if *credit >= ahead / 4 {
                    generator.send(arrival.sender, mem::take(credit))?;
                }
            }
            // Its room is used again.
            generator.arrivals = arrivals;
            Ok(count)
        })?;
        let most = self.server.most_memory();
        self.generator.finish()?;
        let mut readings = throughput(messages, spent);
        if let Some((most, memory)) = most.zip(memory) {
            let each = (most - memory).max(0.0) / connections as f64;
            readings.push((&CONNECTION_MEMORY, each / 1e3));
        }
        readings.extend(busy(spent));
        Ok(readings)
    }

    fn ping_pong(&mut self, pairs: usize) -> Result<Vec<Reading>> {
        let a = self.clients('a', pairs)?;
        let b = self.clients('b', pairs)?;
        let mut sent = vec![Instant::now(); 2 * pairs];
        // Who answers whom: the partner of each client.
        let partner = |client: usize| (client + pairs) % (2 * pairs);
        for (&a, &b) in a.iter().zip(&b) {
            self.generator.route(a, &[b], TEXT);
            self.generator.route(b, &[a], TEXT);
        }
        for &client in &a {
            sent[client] = Instant::now();
            self.generator.send(client, 1)?;
        }
        let mut all = times();
        let start = Instant::now();
        let warm = Duration::from_secs_f64(WARM_UP * self.seconds);
        let (messages, spent) = self.measured(|generator| {
            generator.turn(None)?;
            let mut count = 0;
            for arrival in mem::take(&mut generator.arrivals) {
                count += arrival.numbers.end - arrival.numbers.start;
                if start.elapsed() > warm {
                    record(&mut all, arrival.at - sent[partner(arrival.client)]);
                }
                sent[arrival.client] = Instant::now();
                generator.send(arrival.client, 1)?;
            }
            Ok(count)
        })?;
        self.generator.finish()?;
        let mut readings = throughput(messages, spent);
        readings.push((&P50, microseconds(&all, 0.5)));
        readings.push((&P99, microseconds(&all, 0.99)));
        readings.extend(busy(spent));
        Ok(readings)
    }

    fn fan_out(&mut self, recipients: usize) -> Result<Vec<Reading>> {
        let from = self.clients('a', 1)?[0];
        let to = self.clients('b', recipients)?;
        self.generator.route(from, &to, TEXT);
        self.generator.send(from, FAN_OUT_WINDOW)?;
        let mut credit = 0;
        let (messages, spent) = self.measured(|generator| {
            generator.turn(None)?;
            let arrivals = generator.arrivals.iter().map(|arrival| &arrival.numbers);
            let count: u64 = arrivals.map(|numbers| numbers.end - numbers.start).sum();
            credit += count as usize;
            let lines = credit / recipients;
            if lines >= FAN_OUT_WINDOW / 4 {
                credit -= lines * recipients;
                generator.send(from, lines)?;
            }
            Ok(count)
        })?;
        self.generator.finish()?;
        let mut readings = throughput(messages, spent);
        readings.extend(busy(spent));
        Ok(readings)
    }

    fn latency(&mut self, clients: usize, rate: u32) -> Result<Vec<Reading>> {
        let ring = self.ring(clients)?;
        let meter = Meter::start(self.server);
        let mut clock = Clock::new(ring, rate);
        clock.warm_up = WARM_UP * self.seconds;
        let seconds = self.seconds;
        clock.run(self.generator, |elapsed, _| Ok(elapsed < seconds))?;
        let spent = meter.spent();
        self.generator.finish()?;
        let times = &clock.times;
        let mut readings = vec![
            (&P50, microseconds(times, 0.5)),
            (&P99, microseconds(times, 0.99)),
            (&P999, microseconds(times, 0.999)),
        ];
        // The generator watches the clock all the time, so its own share says nothing here.
        readings.extend(busy(spent).filter(|(measure, _)| **measure == SERVER_BUSY));
        Ok(readings)
    }

    /// Clients of whom each writes to the next, and the last to the first.
    fn ring(&mut self, clients: usize) -> Result<Vec<usize>> {
        let ring = self.clients('r', clients)?;
        for (place, &client) in ring.iter().enumerate() {
            let next = ring[(place + 1) % clients];
            self.generator.route(client, &[next], TEXT);
        }
        Ok(ring)
    }

    fn idle(&mut self, connections: usize) -> Result<Vec<Reading>> {
        // The first client costs what every later one finds ready.
        self.clients('a', 1)?;
        let before = self.server.memory();
        let start = Instant::now();
        self.clients('b', connections)?;
        let logins = connections as f64 / start.elapsed().as_secs_f64();
        let after = self.server.memory();
        let mut readings = Vec::new();
        if let Some((before, after)) = before.zip(after) {
            let each = (after - before).max(0.0) / connections as f64;
            readings.push((&CONNECTION_MEMORY, each / 1e3));
        }
        readings.push((&LOGINS, logins));
        Ok(readings)
    }

    fn slow_reader(&mut self, messages: u64) -> Result<Vec<Reading>> {
        const CLIENTS: usize = 20;
        const RATE: u32 = 1_000;
        let ring = self.ring(CLIENTS)?;
        let writer = self.clients('w', 1)?[0];
        let slow = self.clients('s', 1)?[0];
        let mut before = Clock::new(ring.clone(), RATE);
        before.warm_up = WARM_UP * self.seconds;
        let seconds = self.seconds;
        before.run(self.generator, |elapsed, _| Ok(elapsed < seconds))?;

        let memory = self.server.memory();
        self.generator.route(writer, &[slow], LONG_TEXT);
        self.generator.stop_reading(slow);
        self.generator.may_be_closed(writer);
        let mut meanwhile = Clock::new(ring, RATE);
        meanwhile.run(self.generator, |elapsed, generator| {
            let sent = generator.sent(writer);
            let unwritten = generator.client(writer).unwritten();
            if sent < messages && unwritten < READY {
                // Ready to be written, so that the server never waits for it.
                generator.send(writer, (messages - sent).min(READY as u64 / 100) as usize)?;
            }
            let done = sent == messages && unwritten == 0;
            Ok(elapsed < seconds || (!done && elapsed < FLOOD))
        })?;
        let unwritten = self.generator.client(writer).unwritten();
        let most = self.server.most_memory();
        let taken = self.generator.sent(writer) as f64 * 100.0 - unwritten as f64;
        let mut readings = Vec::new();
        if let Some((most, memory)) = most.zip(memory) {
            readings.push((&GROWTH, (most - memory).max(0.0) / 1e6));
        }
        readings.extend([
            (&DISTURBED, microseconds(&meanwhile.times, 0.99)),
            (&UNDISTURBED, microseconds(&before.times, 0.99)),
            (&STALL, meanwhile.times.max() as f64 / 1e6),
            (&TAKEN, taken / 1e6),
        ]);
        if unwritten == 0 && !self.generator.client(writer).is_closed() {
            // Who writes gets its answers one after the other, so all of them have come then.
            self.generator.finish()?;
            let refused = self.generator.client(writer).refused();
            let received = self.generator.messages_left(slow, QUIET)?;
            let lost = self
                .generator
                .sent(writer)
                .saturating_sub(refused + received);
            readings.extend([(&REFUSED, refused as f64), (&LOST, lost as f64)]);
        }
        Ok(readings)
    }

    fn churn(&mut self, clients: usize) -> Result<Vec<Reading>> {
        let visitors = self.clients('v', clients)?;
        let mut number = 0;
        let mut visit = |generator: &mut Generator, client: usize| {
            number += 1;
            generator.replace(client, &format!("c{number}"))
        };
        for &client in &visitors {
            visit(self.generator, client)?;
        }
        let (visits, spent) = self.measured(|generator| {
            generator.turn(None)?;
            let back = mem::take(&mut generator.echoes);
            for &client in &back {
                visit(generator, client)?;
            }
            Ok(back.len() as u64)
        })?;
        let mut readings = vec![(&CYCLES, visits as f64 / spent.seconds)];
        if let Some(server) = spent.server {
            readings.push((&VISIT_CPU, 1e6 * server / visits.max(1) as f64));
        }
        readings.extend(busy(spent));
        Ok(readings)
    }

    fn endless_line(&mut self, bytes: u64) -> Result<Vec<Reading>> {
        let client = self.clients('a', 1)?[0];
        let memory = self.server.memory();
        self.generator.may_be_closed(client);
        self.generator.send_bytes(client, b"a1: ")?;
        let chunk = vec![b'x'; READY];
        let start = Instant::now();
        let mut written = 0;
        while start.elapsed().as_secs_f64() < FLOOD && !self.generator.client(client).is_closed() {
            let unwritten = self.generator.client(client).unwritten() as u64;
            if written >= bytes && unwritten == 0 {
                break;
            }
            if written < bytes && unwritten < READY as u64 {
                self.generator.send_bytes(client, &chunk)?;
                written += READY as u64;
            }
            self.generator.turn(Some(Duration::from_millis(1)))?;
        }
        let unwritten = self.generator.client(client).unwritten() as f64;
        let most = self.server.most_memory();
        let mut readings = Vec::new();
        if let Some((most, memory)) = most.zip(memory) {
            readings.push((&GROWTH, (most - memory).max(0.0) / 1e6));
        }
        let closed = self.generator.client(client).is_closed();
        readings.push((&TAKEN, (written as f64 - unwritten) / 1e6));
        readings.push((&CLOSED, f64::from(u8::from(closed))));
        Ok(readings)
    }

    fn descriptors(&mut self, limit: u32) -> Result<Vec<Reading>> {
        let served = self.clients('a', limit as usize / 4)?;
        let mut extra = Vec::new();
        for number in 0..limit {
            let client = self.generator.connect(&format!("x{number}"))?;
            // A server that has no descriptor left may send clients away, or let them wait.
            self.generator.may_be_closed(client);
            extra.push(client);
        }
        let meter = Meter::start(self.server);
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < self.seconds {
            self.generator.turn(Some(Duration::from_millis(10)))?;
        }
        let spent = meter.spent();
        if served
            .iter()
            .any(|&client| self.generator.client(client).is_closed())
        {
            bail!("the server has closed connections that it had served before");
        }
        for client in extra {
            self.generator.leave(client);
        }
        self.clients('n', 1)?;
        let server = spent.server.map(|server| 100.0 * server / spent.seconds);
        Ok(server.map(|busy| (&FULL_CPU, busy)).into_iter().collect())
    }
}

/// A load by the clock: at each of its ticks one client of a ring writes one message to the next one.
/// Each message counts from the time that it had to be written, however late it was.
///
/// The clients take turns in an order that changes with each turn, as people do: who always answered
/// at once would acknowledge with it what has arrived, and hide what a server without `TCP_NODELAY`
/// waits for.
struct Clock {
    ring: Vec<usize>,
    tick: Duration,
    /// Of the first so many seconds no times are kept.
    warm_up: f64,
    times: Histogram<u64>,
}

impl Clock {
    fn new(ring: Vec<usize>, rate: u32) -> Clock {
        Clock {
            ring,
            tick: Duration::from_secs(1) / rate,
            warm_up: 0.0,
            times: times(),
        }
    }

    /// Runs as long as `goes_on` says, which is asked again and again with the seconds since the start;
    /// then until all that was written has arrived.
    fn run(
        &mut self,
        generator: &mut Generator,
        mut goes_on: impl FnMut(f64, &mut Generator) -> Result<bool>,
    ) -> Result<()> {
        // Every run has the same order.
        let mut random = fastrand::Rng::with_seed(0);
        let size = self.ring.len();
        let mut order: Vec<usize> = (0..size).collect();
        // When each message of each client had to be written, and the number of its first one.
        let mut due = vec![Vec::new(); size];
        let first: Vec<u64> = self
            .ring
            .iter()
            .map(|&client| generator.sent(client))
            .collect();
        let (mut written, mut arrived) = (0, 0);
        let start = Instant::now();
        let (mut next, mut end, mut going) = (start, start, true);
        while going || arrived < written {
            let now = Instant::now();
            if going {
                going = goes_on((now - start).as_secs_f64(), generator)?;
                end = now;
            } else if now - end > generator.patience() {
                bail!("{} messages have not arrived", written - arrived);
            }
            while going && next <= now {
                if written % size == 0 {
                    random.shuffle(&mut order);
                }
                let place = order[written % size];
                due[place].push(next);
                generator.send(self.ring[place], 1)?;
                written += 1;
                next += self.tick;
            }
            generator.turn(Some(Duration::ZERO))?;
            let arrivals = mem::take(&mut generator.arrivals);
            for arrival in &arrivals {
                // The clients of a ring have logged in one after the other.
                let place = arrival.client.wrapping_sub(self.ring[0]);
                if place >= size {
                    continue;
                }
                let writer = (place + size - 1) % size;
                for number in arrival.numbers.clone() {
                    let due = due[writer][(number - first[writer]) as usize];
                    arrived += 1;
                    if (due - start).as_secs_f64() >= self.warm_up {
                        record(&mut self.times, arrival.at.saturating_duration_since(due));
                    }
                }
            }
            generator.arrivals = arrivals;
        }
        Ok(())
    }
}
