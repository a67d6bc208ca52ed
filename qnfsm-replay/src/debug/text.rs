//! Views as text, for people.

use std::fmt::{self, Display, Formatter};

use qnfsm::schema::short_name;

use super::view::{
    AskedView, CameView, CauseView, ChangeView, KindFields, MessageView, Shown, SpotView, StepView, View,
};
use crate::dump::Number;

impl Display for View {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            View::Step(step) => step.fmt(f),
            View::Where(at) => at.fmt(f),
            View::NoStep { at } => write!(f, "{at}\nthe round has no step"),
            View::NoRound => f.write_str("the journal has no round"),
            View::Arrived { by, stop, expression, step } => {
                match (stop, expression) {
                    (Some(stop), Some(expression)) => writeln!(f, "{by} at stop {stop}: {expression}")?,
                    _ => writeln!(f, "{by}")?,
                }
                step.fmt(f)
            }
            View::Stops { stops } if stops.is_empty() => f.write_str("nothing stops `run`; see `help break`"),
            View::Stops { stops } => lines(f, stops.iter().map(|stop| format!("{}  {}", stop.number, stop.expression))),
            View::Causes { causes, more } => {
                lines(f, causes.iter())?;
                if *more { f.write_str("\n… and more; `why 100` goes further back") } else { Ok(()) }
            }
            View::State { queue, kind, state, data } => {
                write!(f, "{queue} {kind}: {}", data.text)?;
                state.as_ref().map_or(Ok(()), |state| write!(f, " in {}", state.text))
            }
            View::Sent { asked, .. } if asked.is_empty() => f.write_str("nothing was asked for"),
            View::Sent { asked, more } => {
                lines(f, asked.iter())?;
                rest(f, *more, asked.len())
            }
            View::Frames { direction, frames, .. } if frames.is_empty() => write!(f, "no {direction}"),
            View::Frames { frames: shown, more, .. } | View::Fsm { lines: shown, more } if !shown.is_empty() => {
                lines(f, shown.iter().map(|shown| &shown.text))?;
                rest(f, *more, shown.len())
            }
            View::Fsm { .. } | View::Frames { .. } => f.write_str("nothing waits"),
            View::Fsms { worker, after_round, after_step, fsms, more } => {
                write!(f, "w{worker} after ")?;
                after_step.map_or(Ok(()), |(step, steps)| write!(f, "step {step} of {steps} of "))?;
                write!(f, "round {after_round}: {}", count(fsms.len() + more, "FSM"))?;
                fsms.iter().try_for_each(|fsm| {
                    write!(f, "\n{} {}", fsm.queue, fsm.kind)?;
                    fsm.state.as_ref().map_or(Ok(()), |state| write!(f, " in {}", state.text))?;
                    let waits = [(fsm.waiting, "message"), (fsm.timers, "timer"), (fsm.requests, "request")];
                    let waits = waits.iter().filter(|(of, _)| *of != 0);
                    waits.into_iter().try_for_each(|(of, what)| write!(f, ", {}", count(*of, what)))
                })?;
                rest(f, *more, fsms.len())
            }
            View::Kinds { kinds } => lines(
                f,
                kinds.iter().map(|kind| {
                    let states =
                        if kind.states.is_empty() { String::new() } else { format!(", in {}", kind.states.join(", ")) };
                    format!("{} takes {}{states}", kind.kind, short_name(&kind.message))
                }),
            ),
            View::Kind(kind) => kind.fmt(f),
            View::Said { text } => f.write_str(text),
        }
    }
}

fn lines<T: Display>(f: &mut Formatter<'_>, lines: impl Iterator<Item = T>) -> fmt::Result {
    for (at, line) in lines.enumerate() {
        if at > 0 {
            f.write_str("\n")?;
        }
        line.fmt(f)?;
    }
    Ok(())
}

/// Says how many lines of a list are left out, and how they are seen.
fn rest(f: &mut Formatter<'_>, more: usize, shown: usize) -> fmt::Result {
    if more == 0 { Ok(()) } else { write!(f, "\n… and {more} more; `lines {}` shows all", shown + more) }
}

fn count(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

impl Display for SpotView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let SpotView { ordinal, rounds, worker, round, step, steps, time, segment, offset } = self;
        write!(
            f,
            "w{worker} round {round}, step {step} of {steps}; ordinal {ordinal} of {rounds}; {time}; {segment}:{offset}"
        )
    }
}

impl Display for StepView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let StepView { at, queue, kind, handler, message, state_before, state_after, .. } = self;
        at.as_ref().map_or(Ok(()), |at| writeln!(f, "{at}"))?;
        write!(f, "{queue} {kind}: {handler}")?;
        if let Some(message) = message {
            write!(f, " {message}")?;
        }
        match (state_before, state_after) {
            (Some(before), Some(after)) if before.text == after.text => write!(f, "\n  state    {}", after.text)?,
            (Some(before), Some(after)) => write!(f, "\n  state    {} → {}", before.text, after.text)?,
            (None, Some(after)) => write!(f, "\n  state    → {}", after.text)?,
            (Some(before), None) => write!(f, "\n  state    {}", before.text)?,
            (None, None) => {}
        }
        let mut label = "changed ";
        for change in &self.changed {
            write!(f, "\n  {label} {change}")?;
            label = "        ";
        }
        if self.changed_more > 0 {
            write!(f, "\n  {label} … and {}", count(self.changed_more, "more field"))?;
            f.write_str(if self.in_debugger { "; `lines 1000` shows more" } else { "" })?;
        }
        if let Some(note) = &self.changed_note {
            write!(f, "\n  {label} {note}")?;
        }
        let mut label = "asked   ";
        for asked in &self.asked {
            write!(f, "\n  {label} {asked}")?;
            label = "        ";
        }
        if self.asked_more > 0 {
            write!(f, "\n  {label} … and {} more", self.asked_more)?;
            f.write_str(if self.in_debugger { "; `sent` lists them" } else { "" })?;
        }
        write!(f, "\n  ended    {}", self.ended)?;
        self.fault.as_ref().map_or(Ok(()), |fault| write!(f, ": {fault}"))
    }
}

impl Display for MessageView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MessageView { of, value, from, came, request, beats } = self;
        write!(f, "{} {}", short_name(of), value.text)?;
        match (*came, request, beats) {
            ("timer", _, Some(Number(beats))) if *beats != 1 => write!(f, " of a timer, for {beats} beats"),
            ("timer", ..) => f.write_str(" of a timer"),
            ("request", Some(request), _) => write!(f, " from {from}, as request {request}"),
            ("outcome", Some(request), _) => write!(f, ", the outcome of request {request}"),
            ("news", ..) => f.write_str(", news of a queue"),
            _ => write!(f, " from {from}"),
        }
    }
}

impl Display for ChangeView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = |shown: &Option<Shown>| shown.as_ref().map_or("(none)".to_owned(), |shown| shown.text.clone());
        let path = if self.path.is_empty() { "(all of it)" } else { &self.path };
        write!(f, "{path}: {} → {}", text(&self.before), text(&self.after))
    }
}

impl Display for AskedView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let AskedView { ask, queue, worker, request, timer, deadline, every_ns, of, value } = self;
        f.write_str(&ask.replace('_', " "))?;
        if let Some(timer) = timer {
            write!(f, " {timer}")?;
        }
        if let (Some(of), Some(value)) = (of, value) {
            write!(f, " {} {}", short_name(of), value.text)?;
        }
        let arrow = if matches!(*ask, "send" | "request" | "reply" | "fail") { "to" } else { "as" };
        match (*ask, queue) {
            ("stop" | "monitor" | "monitor_no_longer", Some(queue)) => write!(f, " {queue}")?,
            (_, Some(queue)) => write!(f, " {arrow} {queue}")?,
            (_, None) => {}
        }
        if let Some(worker) = worker {
            write!(f, " on w{worker}")?;
        }
        if let Some(request) = request {
            write!(f, ", request {request}")?;
        }
        if let Some(deadline) = deadline {
            write!(f, ", until {deadline}")?;
        }
        every_ns.map_or(Ok(()), |Number(ns)| write!(f, ", every {:?}", std::time::Duration::from_nanos(ns)))
    }
}

impl Display for CauseView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let CauseView {
            node,
            ordinal,
            worker,
            round,
            step,
            queue,
            kind,
            handler,
            message,
            origin,
            source,
            number,
            came,
        } = self;
        node.map_or(Ok(()), |node| write!(f, "n{node} "))?;
        write!(f, "w{worker} round {round}, step {step} (ordinal {ordinal}): {queue} {kind}: {handler}")?;
        if let Some(message) = message {
            write!(f, " {message}")?;
        }
        match (*origin, source, number) {
            ("step", ..) => f.write_str("\n  because of"),
            ("outside", Some(source), Some(number)) => {
                write!(f, "\n  which came from {source}, its number {number}")?;
                came.as_ref().map_or(Ok(()), |came| write!(f, "\n  {came}"))
            }
            _ => f.write_str("\n  which nothing on record led to: it was there before the journal begins, or the worker made it itself"),
        }
    }
}

impl Display for CameView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let CameView { whence, node, sender, worker, round } = self;
        match (*whence, worker, round) {
            ("sent", Some(worker), Some(round)) => {
                write!(f, "which {sender} of node {node} put out in w{worker} round {round}, because of")
            }
            ("doubled", Some(worker), Some(round)) => {
                let once = "and it came in before: it was doubled on the way";
                write!(f, "which {sender} of node {node} put out once, in w{worker} round {round}, {once}; because of")
            }
            ("alike", ..) => {
                write!(
                    f,
                    "which {sender} of node {node} put out; it put out several alike, and which this is can't be told"
                )
            }
            _ => write!(f, "which came from {sender} of node {node}, whose journal doesn't show that it sent it"),
        }
    }
}

impl Display for KindFields {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| if names.is_empty() { "(none)".to_owned() } else { names.join(", ") };
        writeln!(f, "{} takes {}", self.kind, short_name(&self.message))?;
        writeln!(f, "  message is …  {}", list(&self.variants))?;
        writeln!(f, "  message.…     {}", list(&self.message_fields))?;
        writeln!(f, "  state is …    {}", list(&self.states))?;
        write!(f, "  data.…        {}", list(&self.data_fields))
    }
}
