//! Who is there, and who gets what: a state machine. An event goes in, actions
//! come out. It knows of no I/O, no task and no clock, so all that it does
//! depends on the order of the events alone.

use std::{
    collections::{HashMap, VecDeque},
    iter,
    sync::Arc,
};

use chat::protocol::{Part, STOPPING};

// ANCHOR: event
/// One login. No two logins of a server ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session(pub u64);

/// What the broker is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client asks for a name, which is a good one (8.1).
    LogIn { session: Session, name: Arc<str> },
    /// A client has sent lines. If it has no name, they are nobody's, and are
    /// passed over.
    Lines { session: Session, parts: Vec<Part> },
    /// A client reads too slowly, and is written to no longer (11.2).
    TooSlow { session: Session },
    /// A client says goodbye, or does not wait for its name any longer. No event
    /// of this session follows, except such as change nothing.
    LogOut { session: Session },
    /// The server is to stop (12.1). No event follows.
    Stop,
}
// ANCHOR_END: event

// ANCHOR: action
/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The session has the name that it asked for.
    Welcome { session: Session },
    /// Whole lines for a session that has been welcomed.
    Deliver { session: Session, lines: Arc<String> },
    /// Nothing more is for this session.
    Finish { session: Session },
}
// ANCHOR_END: action

// ANCHOR: state
/// The state: who has which name, and who waits for it.
#[derive(Debug, Default)]
pub struct Broker {
    names: HashMap<Arc<str>, Name>,
    /// The name that a session has or waits for.
    sessions: HashMap<Session, Arc<str>>,
}

/// A name that somebody has.
#[derive(Debug)]
struct Name {
    holder: Session,
    /// Whether the holder is still written to.
    reads: bool,
    waiting: VecDeque<Session>,
}
// ANCHOR_END: state

impl Broker {
    /// Nobody is there.
    pub fn new() -> Self {
        Broker::default()
    }

    // ANCHOR: handle
    /// Takes up one event. Appends what is to be done to `actions`.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::LogIn { session, name } => {
                self.sessions.insert(session, Arc::clone(&name));
                match self.names.get_mut(&name) {
                    Some(name) => name.waiting.push_back(session),
                    None => {
                        self.admit(name, VecDeque::from([session]), actions);
                    }
                }
            }
            Event::Lines { session, parts } if self.holds(session) => {
                for part in parts {
                    self.deliver(session, part, actions);
                }
            }
            Event::Lines { .. } => {}
            Event::TooSlow { session } => {
                let name = self.sessions.get(&session);
                match name.and_then(|name| self.names.get_mut(name)) {
                    Some(name) if name.holder == session => name.reads = false,
                    _ => {}
                }
            }
            Event::LogOut { session } => self.log_out(session, actions),
            Event::Stop => self.stop(actions),
        }
    }
    // ANCHOR_END: handle

    fn holds(&self, session: Session) -> bool {
        let name = self.sessions.get(&session);
        name.and_then(|name| self.names.get(name))
            .is_some_and(|name| name.holder == session)
    }

    // ANCHOR: deliver
    /// Lines for their destinations, and the errors of their sender (9.1).
    fn deliver(&self, from: Session, part: Part, actions: &mut Vec<Action>) {
        let Part { to, lines, count } = part;
        let lines = Arc::new(lines);
        let mut errors = String::new();
        for dest in &*to {
            match self.names.get(dest.as_str()).filter(|name| name.reads) {
                Some(&Name { holder: session, .. }) => {
                    let lines = Arc::clone(&lines);
                    actions.push(Action::Deliver { session, lines });
                }
                None => errors += &format!("error unknown-peer {dest}\n"),
            }
        }
        if !errors.is_empty() {
            // However many lines it is, the text is there once.
            let lines = Arc::new(errors);
            let error = Action::Deliver { session: from, lines };
            actions.extend(iter::repeat_n(error, count));
        }
    }
    // ANCHOR_END: deliver

    /// Gives a free name to the first of those who still wait for it, if any.
    fn admit(
        &mut self,
        name: Arc<str>,
        mut waiting: VecDeque<Session>,
        actions: &mut Vec<Action>,
    ) {
        if let Some(holder) = waiting.pop_front() {
            actions.push(Action::Welcome { session: holder });
            self.names.insert(name, Name { holder, reads: true, waiting });
        }
    }

    // ANCHOR: log_out
    fn log_out(&mut self, session: Session, actions: &mut Vec<Action>) {
        let Some(name) = self.sessions.remove(&session) else {
            return;
        };
        actions.push(Action::Finish { session });
        let Some(state) = self.names.get_mut(&name) else {
            return;
        };
        if state.holder != session {
            return state.waiting.retain(|waiting| *waiting != session);
        }
        if let Some(state) = self.names.remove(&name) {
            self.admit(name, state.waiting, actions);
        }
    }
    // ANCHOR_END: log_out

    /// Tells everybody who is written to.
    fn stop(&mut self, actions: &mut Vec<Action>) {
        let reading = self.names.values().filter(|name| name.reads);
        let mut sessions: Vec<Session> =
            reading.map(|name| name.holder).collect();
        // The map gives them in any order, and a run must be repeatable.
        sessions.sort();
        let lines = Arc::new(format!("error {STOPPING}\n"));
        actions.extend(sessions.into_iter().map(|session| {
            let lines = Arc::clone(&lines);
            Action::Deliver { session, lines }
        }));
    }
}
