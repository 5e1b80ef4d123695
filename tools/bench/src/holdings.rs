//! What a server has of the system.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use examiner::process::{Process, Server};

/// How much more memory a server may have at the end than when it was warm, in megabytes: allocators keep
/// some.
const MORE_MEMORY: f64 = 4.0;

/// What a server has of the system at one time.
#[derive(Clone, Copy)]
pub(crate) struct Holdings {
    /// In megabytes.
    pub(crate) memory: f64,
    /// Open files and sockets.
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

impl Holdings {
    pub(crate) fn of(server: &Server) -> Result<Holdings> {
        let look = || {
            let threads = fs::read_dir(format!("/proc/{}/task", server.id()?)).ok()?;
            Some(Holdings {
                memory: Process::new(server.id()).memory()? / (1024.0 * 1024.0),
                descriptors: server.descriptors()?,
                threads: threads.count(),
            })
        };
        look().context("the server has ended, or the system does not say what it has")
    }

    /// Whether a server that has this has no more than before, or than when it was warm.
    pub(crate) fn judge(&self, before: &Holdings, warm: &Holdings) -> Result<()> {
        ensure!(
            self.descriptors <= before.descriptors,
            "the server keeps {} descriptors of clients that have left",
            self.descriptors - before.descriptors
        );
        ensure!(
            self.threads <= warm.threads.max(before.threads),
            "the server has {} threads more than when it was warm",
            self.threads - warm.threads
        );
        ensure!(
            self.memory <= warm.memory + MORE_MEMORY,
            "the server has {:.1} MB more than when it was warm",
            self.memory - warm.memory
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_keep_what_it_had_and_no_more() {
        let holdings = |(memory, descriptors, threads)| Holdings {
            memory,
            descriptors,
            threads,
        };
        let (before, warm) = (holdings((8.0, 9, 4)), holdings((20.0, 60, 6)));
        for (after, told) in [
            ((23.9, 9, 6), ""),
            ((20.0, 11, 6), "keeps 2 descriptors"),
            ((20.0, 9, 9), "3 threads more"),
            ((29.5, 9, 6), "9.5 MB more"),
        ] {
            let judged = holdings(after).judge(&before, &warm);
            assert_eq!(judged.is_ok(), told.is_empty());
            assert!(format!("{judged:?}").contains(told), "{judged:?}");
        }
    }
}
