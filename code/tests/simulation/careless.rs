//! A broker with a fault, which the simulation must find.

use std::{collections::HashMap, sync::Arc};

use chat::broker::{Action, Broker, Event, Session};

/// A broker, or one with a fault.
pub trait Decide: Send + 'static {
    /// Appends to the actions what is to be done after an event.
    fn decide(&mut self, event: Event, actions: &mut Vec<Action>);
}

impl Decide for Broker {
    fn decide(&mut self, event: Event, actions: &mut Vec<Action>) {
        self.handle(event, actions);
    }
}

// ANCHOR: careless
/// A goodbye ends the session that has the name, not the one that says goodbye:
/// the fault that chapter 11 mended. It shows only if somebody gives up waiting
/// for a name while another has it.
#[derive(Default)]
pub struct Careless {
    broker: Broker,
    names: HashMap<Session, Arc<str>>,
    holders: HashMap<Arc<str>, Session>,
}

impl Decide for Careless {
    fn decide(&mut self, mut event: Event, actions: &mut Vec<Action>) {
        match &mut event {
            Event::LogIn { session, name } => {
                self.names.insert(*session, Arc::clone(name));
            }
            Event::LogOut { session } => {
                if let Some(name) = self.names.remove(session) {
                    *session = *self.holders.get(&name).unwrap_or(session);
                }
            }
            _ => {}
        }
        let first = actions.len();
        self.broker.handle(event, actions);
        for action in &actions[first..] {
            let Action::Welcome { session } = action else {
                continue;
            };
            if let Some(name) = self.names.get(session) {
                self.holders.insert(Arc::clone(name), *session);
            }
        }
    }
}
// ANCHOR_END: careless
