//! Loads by the clock: a message has its time, and counts from then on, however late it was written.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::{Run, TEXT, Value, busy, quantile, record, times};
use crate::{
    generator::Generator,
    meter::Meter,
    metric::{P50, P99, P999, SERVER_BUSY},
};

impl Run {
    /// Clients write in turn, so many messages a second in all.
    pub(crate) fn latency(&mut self, clients: usize, rate: u32) -> Result<Vec<Value>> {
        let ring = self.ring(clients)?;
        let meter = Meter::start(self.server);
        let seconds = self.seconds;
        let times = self.by_the_clock(ring, rate, self.warm_up(), |elapsed, _| {
            Ok(elapsed < seconds)
        })?;
        let spent = meter.spent();
        self.generator.finish()?;
        // The generator watches the clock all the time, so its own share says nothing here.
        let busy = busy(&spent).into_iter();
        let busy = busy.filter(|(metric, _)| **metric == SERVER_BUSY);
        let quantiles = [(&P50, 0.5), (&P99, 0.99), (&P999, 0.999)];
        let quantiles = quantiles.map(|(metric, share)| (metric, quantile(&times, share)));
        Ok(quantiles.into_iter().chain(busy).collect())
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
        let mut times = times();
        let start = Instant::now();
        let (mut next, mut end, mut going) = (start, start, true);
        loop {
            let now = Instant::now();
            if going {
                going = goes_on((now - start).as_secs_f64(), generator)?;
                end = now;
            } else {
                let left: usize = due.iter().map(VecDeque::len).sum();
                if left == 0 {
                    return Ok(times);
                }
                ensure!(
                    now - end <= generator.patience,
                    "{left} messages have not arrived"
                );
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
            for arrival in generator.turn(Some(Duration::ZERO))? {
                for due in due[arrival.sender].drain(..arrival.count) {
                    if (due - start).as_secs_f64() >= warm_up {
                        record(&mut times, arrival.at.saturating_duration_since(due));
                    }
                }
            }
        }
    }
}
