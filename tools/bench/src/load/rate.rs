//! Loads that are as fast as the server: how much does it do in a second?

use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::{Run, TEXT, Value, quantile};
use crate::{
    generator::Generator,
    metric::{CONNECTION_MEMORY, MESSAGES, P50, P99, SERVER_CPU, VISIT_CPU, VISITS},
};

impl Run {
    /// In each pair, one writes to the other, until so many of its messages are under way.
    pub(crate) fn pairs(&mut self, pairs: usize, ahead: usize) -> Result<Vec<Value>> {
        let from = self.clients('a', pairs)?;
        let to = self.clients('b', pairs)?;
        self.flood(from.zip(to.map(|to| vec![to])), ahead)
    }

    /// Each sender writes each line to all recipients, until so many of its lines are under way.
    pub(crate) fn fan(
        &mut self,
        senders: usize,
        recipients: usize,
        ahead: usize,
    ) -> Result<Vec<Value>> {
        let from = self.clients('a', senders)?;
        let to: Vec<usize> = self.clients('b', recipients)?.collect();
        self.flood(from.map(|from| (from, to.clone())), ahead)
    }

    /// Each client writes lines to its recipients, and keeps so many under way. Each copy counts.
    fn flood(
        &mut self,
        routes: impl Iterator<Item = (usize, Vec<usize>)>,
        ahead: usize,
    ) -> Result<Vec<Value>> {
        let connections = self.generator.clients.len();
        let memory = self.server.memory();
        let mut copies = 1;
        for (from, to) in routes {
            copies = to.len();
            self.generator.route(from, &to, TEXT);
            self.generator.send(from, ahead)?;
        }
        let mut credit = vec![0; connections];
        let mut values = self.throughput([&MESSAGES, &SERVER_CPU], |generator| {
            let mut count = 0;
            for arrival in generator.turn(None)? {
                let credit = &mut credit[arrival.sender];
                *credit += arrival.count;
                count += arrival.count;
                // A client that has much to say does not write it line by line.
                let lines = *credit / copies;
                if lines >= ahead / 4 {
                    *credit -= lines * copies;
                    generator.send(arrival.sender, lines)?;
                }
            }
            Ok(count)
        })?;
        // With more copies, it is the queues that take memory, and not the connections.
        if copies == 1 {
            let each = self
                .growth(memory)
                .map(|bytes| bytes / 1e3 / connections as f64);
            values.push((&CONNECTION_MEMORY, each));
        }
        self.generator.finish()?;
        Ok(values)
    }

    /// In each pair, one message goes to and fro.
    pub(crate) fn ping_pong(&mut self, pairs: usize) -> Result<Vec<Value>> {
        let a = self.clients('a', pairs)?;
        let b = self.clients('b', pairs)?;
        for (a, b) in a.clone().zip(b) {
            self.generator.route(a, &[b], TEXT);
            self.generator.route(b, &[a], TEXT);
        }
        let mut sent = vec![Instant::now(); 2 * pairs];
        for client in a {
            sent[client] = Instant::now();
            self.generator.send(client, 1)?;
        }
        let mut times = Histogram::<u64>::new(3)?;
        let (start, warm_up) = (Instant::now(), self.warm_up());
        let mut values = self.throughput([&MESSAGES, &SERVER_CPU], |generator| {
            let arrivals = generator.turn(None)?;
            for arrival in &arrivals {
                if start.elapsed().as_secs_f64() > warm_up {
                    let time = arrival.at - sent[arrival.sender];
                    times.saturating_record(time.as_nanos() as u64);
                }
                sent[arrival.client] = Instant::now();
                generator.send(arrival.client, 1)?;
            }
            Ok(arrivals.len())
        })?;
        self.generator.finish()?;
        values.extend([
            (&P50, quantile(&times, 0.5)),
            (&P99, quantile(&times, 0.99)),
        ]);
        Ok(values)
    }

    /// So many clients at a time log in, write one message to themselves, and leave.
    pub(crate) fn churn(&mut self, clients: usize) -> Result<Vec<Value>> {
        let mut number = 0;
        let mut visit = |generator: &mut Generator, client: usize| {
            number += 1;
            generator.connect(client, &format!("c{number}"))
        };
        for client in self.clients('v', clients)? {
            visit(&mut self.generator, client)?;
        }
        self.throughput([&VISITS, &VISIT_CPU], |generator| {
            let back = generator.turn(None)?;
            for arrival in &back {
                visit(generator, arrival.client)?;
            }
            Ok(back.len())
        })
    }
}
