//! Loads that may be too much for a server: very many clients, one that doesn't read, a line without end, more
//! connections than descriptors.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Run, Value, meter, quantile};
use crate::metric::{
    CLOSED, CONNECTION_MEMORY, DISTURBED, FULL_CPU, GROWTH, LOGINS, LOST, REFUSED, STALL, TAKEN,
    UNDISTURBED,
};

/// The text of a message that makes a line of [`LINE`] bytes when it is delivered, in bytes.
const LONG_TEXT: usize = 88;
const LINE: u64 = 100;

/// How long a load that a server may refuse to accept goes on, in seconds.
const FLOOD: f64 = 10.0;

/// How many bytes of such a load are ready to be written, so that the server never waits for them.
const READY: usize = 64 * 1024;

/// How long nothing has come when no more is expected.
const QUIET: Duration = Duration::from_secs(1);

impl Run {
    /// So many clients log in and stay.
    pub(crate) fn idle(&mut self, connections: usize) -> Result<Vec<Value>> {
        // The first client costs what every later one finds ready.
        self.clients('a', 1)?;
        let before = self.server.memory();
        let start = Instant::now();
        self.clients('b', connections)?;
        let logins = connections as f64 / start.elapsed().as_secs_f64();
        let grown = before
            .zip(self.server.memory())
            .map(|(before, after)| after - before);
        let each = grown.map(|bytes| bytes.max(0.0) / 1e3 / connections as f64);
        Ok(vec![(&CONNECTION_MEMORY, each), (&LOGINS, Some(logins))])
    }

    /// One client writes so many messages to one that does not read, while others converse.
    pub(crate) fn slow_reader(&mut self, messages: u64) -> Result<Vec<Value>> {
        const RATE: u32 = 1_000;
        let ring = self.ring(20)?;
        let writer = self.clients('w', 1)?.start;
        let slow = self.clients('s', 1)?.start;
        let (seconds, warm_up) = (self.seconds, self.warm_up());
        let before = self.by_the_clock(ring.clone(), RATE, warm_up, |elapsed, _| {
            Ok(elapsed < seconds)
        })?;

        let memory = self.server.memory();
        self.generator.route(writer, &[slow], LONG_TEXT);
        self.generator.clients[slow].reads = false;
        for client in [slow, writer] {
            self.generator.clients[client].may_be_closed = true;
        }
        let meanwhile = self.by_the_clock(ring, RATE, 0.0, |elapsed, generator| {
            let client = &generator.clients[writer];
            let (left, unwritten) = (messages - client.sent(), client.unwritten());
            if left > 0 && unwritten < READY {
                generator.send(writer, left.min(READY as u64 / LINE) as usize)?;
            }
            let done = left == 0 && unwritten == 0;
            Ok(elapsed < seconds || (!done && elapsed < FLOOD))
        })?;
        let growth = self.growth(memory);
        let client = &self.generator.clients[writer];
        let (sent, unwritten) = (client.sent(), client.unwritten());
        let taken = (sent * LINE).saturating_sub(unwritten as u64);
        let mut values = vec![
            (&GROWTH, growth.map(|bytes| bytes / 1e6)),
            (&DISTURBED, quantile(&meanwhile, 0.99)),
            (&UNDISTURBED, quantile(&before, 0.99)),
            (&STALL, Some(meanwhile.max() as f64 / 1e6)),
            (&TAKEN, Some(taken as f64 / 1e6)),
        ];
        if unwritten == 0 && !client.closed {
            // A client gets its answers in order, so behind this the writer has all of them.
            self.generator.finish()?;
            let refused = self.generator.clients[writer].refused;
            let wanted = sent.saturating_sub(refused);
            let lost = wanted - self.generator.clients[slow].read_the_rest(wanted, QUIET)?;
            values.extend([(&REFUSED, Some(refused as f64)), (&LOST, Some(lost as f64))]);
        }
        Ok(values)
    }

    /// One client writes so many bytes without a line feed.
    pub(crate) fn endless_line(&mut self, bytes: u64) -> Result<Vec<Value>> {
        let index = self.clients('a', 1)?.start;
        let memory = self.server.memory();
        self.generator.clients[index].may_be_closed = true;
        self.generator.send_bytes(index, b"a1: ")?;
        let chunk = vec![b'x'; READY];
        let start = Instant::now();
        let mut written = 0;
        let (taken, closed) = loop {
            let client = &self.generator.clients[index];
            let (unwritten, closed) = (client.unwritten() as u64, client.closed);
            let done = written >= bytes && unwritten == 0;
            if done || closed || start.elapsed().as_secs_f64() >= FLOOD {
                break (written.saturating_sub(unwritten), closed);
            }
            if written < bytes && unwritten < READY as u64 {
                self.generator.send_bytes(index, &chunk)?;
                written += READY as u64;
            }
            self.generator.turn(Some(Duration::from_millis(1)))?;
        };
        Ok(vec![
            (&GROWTH, self.growth(memory).map(|bytes| bytes / 1e6)),
            (&TAKEN, Some(taken as f64 / 1e6)),
            (&CLOSED, Some(f64::from(u8::from(closed)))),
        ])
    }

    /// More clients connect than the server may have descriptors, which are so many; then they leave, and a
    /// new one is served.
    pub(crate) fn descriptors(&mut self, limit: usize) -> Result<Vec<Value>> {
        let served = self.clients('a', limit / 4)?.end;
        for client in served..served + limit {
            self.generator.connect(client, &format!("x{client}"))?;
            // A server that has no descriptor left may send clients away, or let them wait.
            self.generator.clients[client].may_be_closed = true;
        }
        let spent = meter(self.server);
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < self.seconds {
            self.generator.turn(Some(Duration::from_millis(10)))?;
        }
        let (_, [busy, ..]) = spent();
        let (served, extra) = self.generator.clients.split_at_mut(served);
        ensure!(
            served.iter().all(|client| !client.closed),
            "the server has closed connections that it had served before"
        );
        extra.iter_mut().for_each(|client| client.leave());
        self.clients('n', 1)?;
        Ok(vec![(&FULL_CPU, busy)])
    }
}
