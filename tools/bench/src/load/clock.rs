//! Loads by the clock: a message has its time, and counts from then on, however late it was written.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::{Run, TEXT, Value, meter, quantile};
use crate::{
    generator::Generator,
    metric::{P50, P99, P999, SERVER_BUSY},
};

impl Run {
    /// Clients write in turn, so many messages a second in all.
    pub(crate) fn latency(&mut self, clients: usize, rate: u32) -> Result<Vec<Value>> {
        let ring = self.ring(clients)?;
        let spent = meter(self.server);
        let seconds = self.seconds;
        let times = self.by_the_clock(ring, rate, self.warm_up(), |elapsed, _| {
            Ok(elapsed < seconds)
        })?;
        let (_, [busy, ..]) = spent();
        self.generator.finish()?;
        // The generator watches the clock all the time, so its own share says nothing here.
        Ok(vec![
            (&P50, quantile(&times, 0.5)),
            (&P99, quantile(&times, 0.99)),
            (&P999, quantile(&times, 0.999)),
            (&SERVER_BUSY, busy),
        ])
    }

    /// Logs in clients of whom each writes to the next, and the last to the first.
    pub(super) fn ring(&mut self, clients: usize) -> Result<Range<usize>> {
        let ring = self.clients('r', clients)?;
        for (client, next) in ring.clone().zip(ring.clone().cycle().skip(1)) {
            self.generator.route(client, &[next], TEXT);
        }
        Ok(ring)
    }

    /// At each tick, one client of the ring writes a message to the next client. Goes on as long as `goes_on`
    /// says, which is asked again and again with the seconds since the start, and then until all has arrived.
    /// Returns the times that messages took, but not those of the warm-up.
    ///
    /// The clients take turns in an order that changes each time, as people do: one that always answered at
    /// once would acknowledge with its answer what has arrived, and hide the delay of a server without
    /// `TCP_NODELAY`.
    pub(super) fn by_the_clock(
        &mut self,
        ring: Range<usize>,
        rate: u32,
        warm_up: f64,
        mut goes_on: impl FnMut(f64, &mut Generator) -> Result<bool>,
    ) -> Result<Histogram<u64>> {
        let generator = &mut self.generator;
        let tick = Duration::from_secs(1) / rate;
        // Every run has the same order.
        let mut random = fastrand::Rng::with_seed(0);
        let mut order: Vec<usize> = ring.collect();
        let mut writers = Vec::new();
        // The times of the messages under way, by the client that writes them.
        let mut due = vec![VecDeque::new(); generator.clients.len()];
        let mut times = Histogram::new(3)?;
        let start = Instant::now();
        let (mut next, mut going) = (start, true);
        loop {
            let now = Instant::now();
            going = going && goes_on((now - start).as_secs_f64(), generator)?;
            if !going && due.iter().all(VecDeque::is_empty) {
                return Ok(times);
            }
            while going && next <= now {
                let writer = writers.pop().unwrap_or_else(|| {
                    random.shuffle(&mut order);
                    writers.extend(&order[1..]);
                    order[0]
                });
                due[writer].push_back(next);
                generator.send(writer, 1)?;
                next += tick;
            }
            for arrival in generator.turn(going.then_some(Duration::ZERO))? {
                for due in due[arrival.sender].drain(..arrival.count) {
                    if (due - start).as_secs_f64() >= warm_up {
                        let time = arrival.at.saturating_duration_since(due);
                        times.saturating_record(time.as_nanos() as u64);
                    }
                }
            }
        }
    }
}
