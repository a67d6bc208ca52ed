//! What FSMs send: to the edge as a whole, to listeners, to connections. Whoever isn't to be heard is not heard.

use qnfsm::{
    Codec, DownReason, Inputs, Message, NoReply, QueueId, RawQueueId, Trust,
    frame::{Class, Frame},
};

use super::{Entry, Running};
use crate::{
    connection::{Closed, Stage},
    protocol::{self, Command, Control, Notice},
    table::Name,
};

/// The node encoded it and chose the number of its type, so what can't be decoded is the node's fault; it is traced.
fn decode<M: Message>(frame: &Frame<'_>) -> Option<M> {
    match Codec::CURRENT.decode(frame.payload, Trust::Node) {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::error!(sender = %frame.header.sender, %error, "a message to the TCP edge can't be decoded");
            None
        }
    }
}

impl Running {
    pub(crate) fn take(&mut self, frame: &Frame<'_>, inputs: &mut Inputs) {
        let header = &frame.header;
        let (name, sender) = (Name { slot: header.slot, generation: header.generation }, header.sender);
        if header.slot == 0 {
            self.take_control(frame, inputs);
            return;
        }
        match header.class {
            Class::Message => match self.table.entry(name) {
                Some(Entry::Connection(connection)) if connection.is_named() => {
                    if header.type_number == self.command_type {
                        self.take_command(name, frame, inputs);
                    } else {
                        self.take_message(name, frame, inputs);
                    }
                }
                Some(Entry::Listener(listener)) if listener.acceptor == sender => {
                    if header.type_number == self.command_type && decode(frame) == Some(Command::Close) {
                        self.unlisten(name, &Closed::Told, inputs);
                    }
                }
                Some(Entry::Listener(_)) => self.ignore(name, sender, "only its acceptor is heard"),
                _ if header.type_number == self.command_type && decode(frame) == Some(Command::Attach) => {
                    inputs.down(sender, self.queue(name), &DownReason::Unknown);
                }
                _ => self.ignore(name, sender, "it is gone"),
            },
            Class::Watch => match self.watchers(name) {
                Some(watchers) if watchers.contains(&sender) => {}
                Some(watchers) => watchers.push(sender),
                None => inputs.down(sender, self.queue(name), &DownReason::Unknown),
            },
            Class::Unwatch => {
                if let Some(watchers) = self.watchers(name) {
                    watchers.retain(|watcher| *watcher != sender);
                }
            }
            Class::Stop => self.stop(name, Closed::Told, inputs),
            Class::Down if self.belongs_to(name, sender) => self.stop(name, Closed::OwnerGone, inputs),
            Class::Refused => {
                if self.watchers(name).is_some() {
                    let why = decode(frame).unwrap_or_else(|| "and why can't be read".to_owned());
                    self.drop_connection(name, &Closed::NotUnderstood(why), inputs);
                }
            }
            _ => self.ignore(name, sender, "it takes messages only"),
        }
        // Nothing here answers requests.
        inputs.fail_request(frame, self.queue(name), NoReply::NotUnderstood);
    }

    fn take_control(&mut self, frame: &Frame<'_>, inputs: &mut Inputs) {
        let header = &frame.header;
        if header.class != Class::Message || header.type_number != self.control_type {
            let name = Name { slot: header.slot, generation: header.generation };
            self.ignore(name, header.sender, "the edge as a whole takes `Control` only");
            return;
        }
        match decode(frame) {
            Some(Control::Listen { name }) => self.listen(name, header.sender, inputs),
            Some(Control::Unlisten { name }) => {
                let listener =
                    self.listens.iter().find(|listen| listen.name == name).and_then(|listen| listen.listener);
                if let Some(listener) = listener
                    && self.belongs_to(listener, header.sender)
                {
                    self.unlisten(listener, &Closed::Told, inputs);
                } else {
                    tracing::debug!(sender = %header.sender, name, "it doesn't listen there");
                }
            }
            Some(Control::Connect { name, deadline }) => self.connect(name, deadline, header.sender, inputs),
            None => {}
        }
    }

    fn take_command(&mut self, name: Name, frame: &Frame<'_>, inputs: &mut Inputs) {
        let sender = frame.header.sender;
        let Some(command) = decode(frame) else { return };
        let Some(Entry::Connection(connection)) = self.table.entry(name) else { return };
        match (command, connection.owner()) {
            (_, Some(owner)) if owner != sender => {
                if command == Command::Attach {
                    let queue = self.queue(name);
                    let connection = QueueId::from_raw(queue);
                    protocol::tell(inputs, sender, queue, &Notice::AttachRefused { connection });
                }
                self.ignore(name, sender, "it belongs to another FSM");
            }
            (Command::Attach, _) => {
                if matches!(connection.stage, Stage::Unattached) {
                    connection.stage = Stage::Attached { owner: sender };
                    self.table.set_deadline(name, None);
                    self.table.list(name);
                    // The connection closes when the FSM is gone.
                    inputs.watch(sender, self.queue(name));
                }
                if let Some(watchers) = self.watchers(name)
                    && !watchers.contains(&sender)
                {
                    watchers.push(sender);
                }
            }
            (Command::Close, _) => self.close_connection(name, Closed::Told),
        }
    }

    /// Any other message to a connection goes to the peer.
    fn take_message(&mut self, name: Name, frame: &Frame<'_>, inputs: &mut Inputs) {
        let Some(Entry::Connection(connection)) = self.table.entry(name) else { return };
        if connection.owner() != Some(frame.header.sender) {
            self.ignore(name, frame.header.sender, "only the FSM that it belongs to is heard, and not while it closes");
            return;
        }
        match connection.push(frame.payload) {
            Ok(()) => self.table.list(name),
            Err(why) => self.drop_connection(name, &why, inputs),
        }
    }

    fn stop(&mut self, name: Name, why: Closed, inputs: &mut Inputs) {
        match self.table.entry(name) {
            Some(Entry::Listener(_)) => self.unlisten(name, &why, inputs),
            Some(Entry::Connection(connection)) if connection.is_named() => self.close_connection(name, why),
            _ => {}
        }
    }

    /// Who is told when the queue of that name is gone, if FSMs know such a queue.
    fn watchers(&mut self, name: Name) -> Option<&mut Vec<RawQueueId>> {
        match self.table.entry(name)? {
            Entry::Listener(listener) => Some(&mut listener.watchers),
            Entry::Connection(connection) => connection.is_named().then_some(&mut connection.watchers),
            Entry::Connector(_) | Entry::Lingering(_) => None,
        }
    }

    fn belongs_to(&mut self, name: Name, fsm: RawQueueId) -> bool {
        match self.table.entry(name) {
            Some(Entry::Listener(listener)) => listener.acceptor == fsm,
            Some(Entry::Connection(connection)) => connection.owner() == Some(fsm),
            _ => false,
        }
    }

    fn ignore(&self, name: Name, sender: RawQueueId, why: &str) {
        tracing::debug!(queue = %self.queue(name), %sender, why, "a frame to the TCP edge is ignored");
    }
}
