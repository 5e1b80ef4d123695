//! What mdBook says while it builds a book. It speaks through `tracing`.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span, subscriber};

/// Does this and returns the warnings and errors meanwhile, each in one line.
///
/// A subscriber of the thread that builds needs no global state, so several books can be built at once.
pub(super) fn of<T>(build: impl FnOnce() -> T) -> (T, Vec<(Level, String)>) {
    let log = Log::default();
    let done = subscriber::with_default(log.clone(), build);
    let lines = std::mem::take(&mut *log.lines());
    (done, lines)
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<(Level, String)>> {
        self.0
            .lock()
            .expect("nothing panics while it holds the lock")
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = text.0.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines = self.lines();
        match (line.strip_prefix("Caused By: "), lines.last_mut()) {
            // mdBook gives the cause of an error as a warning of its own.
            (Some(cause), Some((_, error))) => {
                if !error.contains(cause) {
                    error.push_str(": ");
                    error.push_str(cause);
                }
            }
            _ => lines.push((*event.metadata().level(), line)),
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message of an event.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}
