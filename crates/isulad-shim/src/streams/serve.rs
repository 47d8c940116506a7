//! What clients do: they send input, change sizes, read, and leave.

use super::Streams;
use super::client::{Client, Lost, Received};
use super::input::Input;
use crate::poll::{EventFlags, Poll};
use crate::protocol::stream::ToProcess;

impl Streams {
    /// Closes standard input.
    pub fn close_input(&mut self, poll: &Poll) {
        if let Some(input) = self.input.take() {
            input.forget(poll);
        }
        for client in &mut self.clients {
            client.input = None;
        }
    }

    pub(super) fn serve(&mut self, poll: &Poll, number: u16, flags: EventFlags) {
        let Some(client) = self.clients.iter_mut().find(|client| client.number == number) else {
            return;
        };
        let flushed = client.flush();
        let mut alive = flushed.is_ok();
        if alive && flags.contains(EventFlags::IN) && client.input.is_none() {
            alive = self.receive(poll, number).is_ok();
        } else if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            alive = false;
        }
        if !alive {
            self.cut(poll, |client| client.number == number);
        }
    }

    /// Takes one packet of a client; the event comes again while there are more.
    fn receive(&mut self, poll: &Poll, number: u16) -> Result<(), Lost> {
        let client = self.clients.iter_mut().find(|client| client.number == number).ok_or(Lost)?;
        let packet = match client.receive()? {
            Received::Packet(packet) => packet,
            Received::Nothing => return Ok(()),
            Received::NoMore => {
                if client.wants.stdin && self.manners.stdin_once {
                    self.close_input(poll);
                }
                return Ok(());
            }
        };
        let may_write = client.wants.stdin;
        match ToProcess::parse(&packet).ok_or(Lost)? {
            ToProcess::Resize(rows, columns) => self.resize(rows, columns),
            ToProcess::Input(_) if may_write && self.input.is_some() => {
                // All of the packet but its first byte.
                client.input = Some((packet, 1));
            }
            ToProcess::CloseStdin if may_write && self.input.is_some() => {
                client.closes_input = true;
                client.input = self.input.as_ref().and_then(Input::end_of_file).map(|end| (end, 0));
            }
            // Nobody reads it.
            ToProcess::Input(_) | ToProcess::CloseStdin => {}
        }
        self.flush_input(poll);
        Ok(())
    }

    /// Writes clients' input to the process, as far as it takes it.
    pub(super) fn flush_input(&mut self, poll: &Poll) {
        let Some(input) = &mut self.input else { return };
        let mut closed = false;
        for client in &mut self.clients {
            if let Some((bytes, done)) = &mut client.input {
                match input.write(bytes.get(*done..).unwrap_or_default()) {
                    Ok(count) => *done += count,
                    Err(_) => closed = true,
                }
                if *done >= bytes.len() {
                    client.input = None;
                }
            }
            // A terminal is not closed: it was sent its end-of-file character.
            closed |= client.input.is_none() && client.closes_input && !self.terminal;
        }
        let waiting = self.clients.iter().any(|client| client.input.is_some());
        if closed || input.watch(poll, waiting).is_err() {
            self.close_input(poll);
        }
    }

    /// Lets clients go.
    pub(super) fn cut(&mut self, poll: &Poll, leaves: impl Fn(&Client) -> bool) {
        let mut had_input = false;
        self.clients.retain(|client| {
            let leaving = leaves(client);
            if leaving {
                client.forget(poll);
                had_input |= client.wants.stdin;
            }
            !leaving
        });
        if had_input && self.manners.stdin_once {
            self.close_input(poll);
        }
    }
}
