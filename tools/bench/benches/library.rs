//! What the library costs without sockets: its parser, and its broker. `cargo bench --bench library`.

use std::{hint::black_box, sync::Arc};

use chat::{
    broker::{Broker, Event, Session},
    protocol::{Format, Line, LineBuffer, Part},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// As many lines as a read may bring at a time.
const LINES: usize = 1000;
/// To how many peers the broker passes them on.
const PEERS: usize = 500;

fn parts(line: &str) -> Vec<Part> {
    let mut format = Format::new("ann");
    (0..LINES).for_each(|_| format.message(line));
    format.take()
}

fn protocol(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("protocol");
    group.throughput(Throughput::Elements(LINES as u64));
    for (name, line) in [
        ("ascii", "ben: have you seen the cat?\n"),
        ("chinese", "小明: 你看见那只猫了吗？\n"),
    ] {
        let bytes = line.repeat(LINES).into_bytes();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut buffer = LineBuffer::new(8192);
                buffer.room(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
                buffer.filled(bytes.len());
                let mut format = Format::new("ann");
                while let Some(Line::Text(line)) = buffer.take_line() {
                    format.message(line);
                }
                format.take()
            });
        });
    }
    group.finish();
}

fn broker(criterion: &mut Criterion) {
    let mut broker = Broker::new();
    let mut actions = Vec::new();
    let names: Vec<String> = (0..PEERS).map(|n| format!("peer-{n}")).collect();
    for (number, name) in (0..).zip(&names) {
        let name = Arc::from(name.as_str());
        let event = Event::LogIn {
            session: Session(number),
            name,
        };
        broker.handle(event, &mut actions);
    }
    actions.clear();
    let mut group = criterion.benchmark_group("broker");
    for (name, line) in [
        ("one destination", "peer-7: hello".to_string()),
        ("all destinations", format!("{}: hello", names.join(","))),
        ("nobody", "nobody: hello".to_string()),
    ] {
        let parts = parts(&line);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || Event::Lines {
                    session: Session(0),
                    parts: parts.clone(),
                },
                |event| {
                    broker.handle(event, &mut actions);
                    black_box(actions.drain(..).count())
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, protocol, broker);
criterion_main!(benches);
