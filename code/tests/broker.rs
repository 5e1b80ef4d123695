//! The broker against a model that is too slow for a server, and too small to be
//! wrong: one list of all logins. Whoever comes first in it has the name.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chat::{
    broker::{Action, Broker, Event, Session},
    protocol::{Format, Part, STOPPING},
};
use proptest::prelude::*;

const NAMES: [&str; 3] = ["ann", "ben", "cem"];

// ANCHOR: model
#[derive(Default)]
struct Model {
    logins: Vec<(Session, Arc<str>)>,
    too_slow: HashSet<Session>,
}

impl Model {
    fn holder(&self, name: &str) -> Option<Session> {
        let login = self.logins.iter().find(|login| &*login.1 == name)?;
        Some(login.0)
    }

    fn name(&self, session: Session) -> Option<Arc<str>> {
        let login = self.logins.iter().find(|login| login.0 == session)?;
        Some(Arc::clone(&login.1))
    }

    fn holds(&self, session: Session) -> bool {
        self.name(session)
            .is_some_and(|name| self.holder(&name) == Some(session))
    }
    // ANCHOR_END: model

    // ANCHOR: actions
    fn actions(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::LogIn { session, name } => {
                self.logins.push((session, name));
                self.welcome(session)
            }
            Event::LogOut { session } => {
                let Some(name) = self.name(session) else {
                    return Vec::new();
                };
                let held = self.holds(session);
                self.logins.retain(|login| login.0 != session);
                let next = self.holder(&name).filter(|_| held);
                let mut actions = vec![Action::Finish { session }];
                actions.extend(next.map(|session| Action::Welcome { session }));
                actions
            }
            Event::TooSlow { session } => {
                if self.holds(session) {
                    self.too_slow.insert(session);
                }
                Vec::new()
            }
            Event::Lines { session, .. } if !self.holds(session) => Vec::new(),
            Event::Lines { session, parts } => self.deliver(session, &parts),
            Event::Stop => self.stop(),
        }
    }
    // ANCHOR_END: actions

    fn welcome(&self, session: Session) -> Vec<Action> {
        let welcome = Action::Welcome { session };
        self.holds(session).then_some(welcome).into_iter().collect()
    }

    fn deliver(&self, sender: Session, parts: &[Part]) -> Vec<Action> {
        let mut actions = Vec::new();
        for Part { to, lines, count } in parts {
            let reached = |name: &String| {
                self.holder(name).filter(|peer| !self.too_slow.contains(peer))
            };
            for session in to.iter().filter_map(reached) {
                let lines = Arc::new(lines.clone());
                actions.push(Action::Deliver { session, lines });
            }
            let errors: String = to
                .iter()
                .filter(|name| reached(name).is_none())
                .map(|name| format!("error unknown-peer {name}\n"))
                .collect();
            if !errors.is_empty() {
                for _ in 0..*count {
                    let lines = Arc::new(errors.clone());
                    actions.push(Action::Deliver { session: sender, lines });
                }
            }
        }
        actions
    }

    fn stop(&self) -> Vec<Action> {
        let sessions = self.logins.iter().map(|login| login.0);
        let mut told: Vec<Session> = sessions
            .filter(|peer| self.holds(*peer) && !self.too_slow.contains(peer))
            .collect();
        told.sort();
        let lines = Arc::new(format!("error {STOPPING}\n"));
        let deliver = |session| {
            let lines = Arc::clone(&lines);
            Action::Deliver { session, lines }
        };
        told.into_iter().map(deliver).collect()
    }
}

// ANCHOR: steps
/// What happens: a new session under one of the names, or something to one of the
/// sessions. The number says which name or session.
#[derive(Clone, Debug)]
enum Step {
    LogIn(usize),
    Lines(usize, Vec<String>),
    TooSlow(usize),
    LogOut(usize),
    Stop,
}

/// A message to somebody or nobody, or a line that is none.
fn line() -> impl Strategy<Value = String> {
    "(ann|ben|cem|dan)(,(ann|ben|cem|dan)){0,2}: [a-z]{0,3}|[a-z ]{0,5}"
}

fn step() -> impl Strategy<Value = Step> {
    let lines = prop::collection::vec(line(), 0..4);
    prop_oneof![
        4 => (0..NAMES.len()).prop_map(Step::LogIn),
        4 => (0..8usize, lines).prop_map(|(who, lines)| Step::Lines(who, lines)),
        1 => (0..8usize).prop_map(Step::TooSlow),
        3 => (0..8usize).prop_map(Step::LogOut),
    ]
}

/// Steps, and a stop at the end.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..60).prop_map(|mut steps| {
        steps.push(Step::Stop);
        steps
    })
}
// ANCHOR_END: steps

proptest! {
    // A failure shows all that is needed to repeat it.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_broker_does_what_the_model_does(steps in steps()) {
        let (mut broker, mut model) = (Broker::new(), Model::default());
        // Each session logs in once, under the name that the step says.
        let mut sessions: Vec<(Session, &str)> = Vec::new();
        for step in steps {
            let recent = |who: usize| sessions.iter().rev().nth(who).copied();
            let event = match step {
                Step::LogIn(name) => {
                    let session = Session(sessions.len() as u64);
                    sessions.push((session, NAMES[name]));
                    Event::LogIn { session, name: NAMES[name].into() }
                }
                Step::Stop => Event::Stop,
                Step::Lines(who, lines) => {
                    let Some((session, name)) = recent(who) else { continue };
                    let mut format = Format::new(name);
                    for line in lines {
                        format.message(&line);
                    }
                    Event::Lines { session, parts: format.take() }
                }
                Step::TooSlow(who) => {
                    let Some((session, _)) = recent(who) else { continue };
                    Event::TooSlow { session }
                }
                Step::LogOut(who) => {
                    let Some((session, _)) = recent(who) else { continue };
                    Event::LogOut { session }
                }
            };
            // ANCHOR: compare
            let mut actions = Vec::new();
            broker.handle(event.clone(), &mut actions);
            let expected = model.actions(event);
            prop_assert_eq!(actions, expected);
            // ANCHOR_END: compare
        }
    }

    // ANCHOR: together
    /// What a session receives does not depend on how many of a client's lines
    /// are taken up at once.
    #[test]
    fn lines_mean_the_same_together_and_one_by_one(
        lines in prop::collection::vec(line(), 0..12),
    ) {
        let (mut together, mut one_by_one) = (Format::new("ann"), Vec::new());
        for line in &lines {
            together.message(line);
            let mut format = Format::new("ann");
            format.message(line);
            one_by_one.extend(format.take());
        }
        prop_assert_eq!(received(together.take()), received(one_by_one));
    }
    // ANCHOR_END: together
}

/// All that each session receives when Ann has sent this, and Ben is there too.
fn received(parts: Vec<Part>) -> HashMap<Session, String> {
    let mut broker = Broker::new();
    let mut actions = Vec::new();
    for (number, name) in ["ann", "ben"].into_iter().enumerate() {
        let session = Session(number as u64);
        let log_in = Event::LogIn { session, name: name.into() };
        broker.handle(log_in, &mut Vec::new());
    }
    let event = Event::Lines { session: Session(0), parts };
    broker.handle(event, &mut actions);
    let mut received = HashMap::new();
    for action in actions {
        if let Action::Deliver { session, lines } = action {
            *received.entry(session).or_insert(String::new()) += &lines;
        }
    }
    received
}
