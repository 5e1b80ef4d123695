//! Which conversations are played at once, and in which order their results are shown.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::Error;

/// How many conversations are played at once, at most. Each has a server of its own, and most of them wait
/// for something most of the time.
const AT_ONCE: usize = 16;

/// A conversation that may take this long is played beside the others even where they share one server.
const LONG: Duration = Duration::from_secs(5);

/// The numbers of conversations in the order in which they begin, and how many of them may be under way at once.
type Lane = (Vec<usize>, usize);

/// How to play conversations that may take this long, with one server that they share or with one each.
pub(super) fn lanes(may_take: &[Duration], shared: bool) -> Vec<Lane> {
    let mut begin: Vec<usize> = (0..may_take.len()).collect();
    if shared {
        // More at once would get in each other's way, and it would show in the wrong one.
        let (long, short) = begin
            .into_iter()
            .partition(|number| may_take[*number] >= LONG);
        return vec![(long, 1), (short, 1)];
    }
    // The longest begin first, so that no one waits for them at the end.
    begin.sort_by_key(|number| Reverse(may_take[*number]));
    vec![(begin, AT_ONCE)]
}

/// Does the work with these numbers, which together are those from 0 on, and shows the results in the order of
/// the numbers. Ends when `show` returns false, or at the first error of either, whatever its number; then
/// `stop` must end the work that has begun.
pub(super) fn in_order<T: Send>(
    lanes: &[Lane],
    work: impl Fn(usize) -> Result<T, Error> + Sync,
    mut show: impl FnMut(usize, T) -> Result<bool, Error>,
    stop: impl Fn(),
) -> Result<(), Error> {
    let next: Vec<AtomicUsize> = lanes.iter().map(|_| AtomicUsize::new(0)).collect();
    let (sender, done) = mpsc::channel();
    thread::scope(|scope| {
        for ((begin, at_once), next) in lanes.iter().zip(&next) {
            for _ in 0..*at_once {
                let (work, sender) = (&work, sender.clone());
                scope.spawn(move || {
                    while let Some(&number) = begin.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // Sending fails when enough has been shown.
                        if sender.send((number, work(number))).is_err() {
                            break;
                        }
                    }
                });
            }
        }
        drop(sender);
        let (mut early, mut shown) = (BTreeMap::new(), 0);
        let mut receive = |(number, result): (usize, Result<T, Error>)| {
            early.insert(number, result?);
            while let Some(result) = early.remove(&shown) {
                shown += 1;
                if !show(shown - 1, result)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        // A thread that panics ends the program with its message.
        while let Ok(result) = done.recv() {
            let go_on = receive(result);
            if !matches!(go_on, Ok(true)) {
                for ((begin, _), next) in lanes.iter().zip(&next) {
                    next.store(begin.len(), Ordering::Relaxed);
                }
                stop();
                return go_on.map(drop);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use super::*;

    #[test]
    fn what_comes_early_is_shown_in_its_turn() {
        // The first isn't done before the second is, whose thread goes on with the third.
        let second_is_done = Barrier::new(2);
        let mut shown = Vec::new();
        let work = |number| {
            if [0, 2].contains(&number) {
                second_is_done.wait();
            }
            Ok(number)
        };
        let show = |number, result| {
            shown.push((number, result));
            Ok(true)
        };
        in_order(&[(vec![0, 1, 2, 3], 2)], work, show, || {
            panic!("nothing is to be stopped")
        })
        .unwrap();
        assert_eq!(shown, [(0, 0), (1, 1), (2, 2), (3, 3)]);
    }

    #[test]
    fn whatever_ends_it_stops_what_has_begun() {
        for ends in ["enough is shown", "it cannot be shown", "the work fails"] {
            let failed = || Error::Server(ends.to_string());
            let (stop, stopped) = mpsc::channel();
            let stopped = Mutex::new(stopped);
            // The second one begins first, and takes until it is stopped.
            let work = |number| match number {
                1 => {
                    let stopped = stopped.lock().unwrap();
                    stopped.recv_timeout(Duration::from_secs(10)).unwrap();
                    Ok(number)
                }
                _ if ends == "the work fails" => Err(failed()),
                _ => Ok(number),
            };
            let show = |number, _| match number {
                0 if ends == "enough is shown" => Ok(false),
                0 => Err(failed()),
                _ => panic!("{ends}, and more is shown"),
            };
            let ended = in_order(&[(vec![1, 0], 2)], work, show, || stop.send(()).unwrap());
            let error = ended.map_err(|error| error.to_string()).err();
            assert_eq!(error, (ends != "enough is shown").then(|| ends.to_string()));
        }
    }
}
