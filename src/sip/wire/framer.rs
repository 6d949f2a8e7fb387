//! Messages out of a stream (RFC 3261 §18.3), and the keep-alives between them (RFC 5626 §3.5.1).

use bytes::{Buf, Bytes, BytesMut};

use super::{Framing, HEAD_MAX, Head, Malformed, Message, ParseError};

/// Cuts a stream of bytes into messages. Holds at most one head and one body, plus what was pushed last.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: BytesMut,
    /// How much of the buffer is known not to hold the end of a head.
    searched: usize,
    /// How much the message at the front needs in all, once its head is complete.
    needed: usize,
    closed: bool,
}

/// What a stream holds.
#[expect(
    clippy::large_enum_variant,
    reason = "a message is moved once and a box would cost an allocation each"
)]
#[derive(Debug)]
pub enum Frame {
    /// A message.
    Message(Message),
    /// Something that is none.
    Malformed {
        /// What is wrong with it.
        malformed: Malformed,
        /// It, or its beginning.
        bytes: Bytes,
        /// Whether its end is unknown, so that the connection is to be closed after the answer, if any.
        close: bool,
    },
    /// A double CRLF: answer with a single one.
    Ping,
}

impl StreamFramer {
    /// Adds what was read. After a [`Frame::Malformed`] with `close` it is thrown away.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next frame that is complete.
    #[must_use]
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.closed {
            return None;
        }
        if self.needed == 0 {
            if self.take_line_ends() {
                return Some(Frame::Ping);
            }
            if matches!(self.buffer.first(), Some(b'\r' | b'\n')) {
                return None;
            }
            match self.find_head()? {
                Ok(head) => {
                    if let Some(frame) = self.size(head) {
                        return Some(frame);
                    }
                }
                Err(error) => return Some(self.give_up(error)),
            }
        }
        (self.buffer.len() >= self.needed).then(|| self.take_message())
    }

    /// Octets of a message that is not complete.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a message has begun and is not complete.
    #[must_use]
    pub fn is_inside_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Skips line ends before a message; tells whether there was a double CRLF.
    fn take_line_ends(&mut self) -> bool {
        loop {
            match &self.buffer[..] {
                [b'\r', b'\n', b'\r', b'\n', ..] => {
                    self.buffer.advance(4);
                    return true;
                }
                // Half a double CRLF: wait for what follows.
                [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return false,
                [b'\r' | b'\n', ..] => self.buffer.advance(1),
                _ => return false,
            }
        }
    }

    /// Length of the head at the front; `None`: not all there.
    fn find_head(&mut self) -> Option<Result<usize, ParseError>> {
        let from = self.searched.saturating_sub(3);
        let within = &self.buffer[..self.buffer.len().min(HEAD_MAX)];
        if let Some(at) = within[from..].windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(Ok(from + at + 4));
        }
        self.searched = within.len();
        if self.buffer.len() >= HEAD_MAX {
            return Some(Err(ParseError::HeadTooLong));
        }
        // What is no SIP is told from its first line, not after 16 KiB.
        let line = within.iter().position(|byte| *byte == b'\n')?;
        (Head::lex(&within[..=line])).is_none().then_some(Err(ParseError::NotSip))
    }

    /// Learns how long the message is; a frame if that cannot be known.
    fn size(&mut self, head: usize) -> Option<Frame> {
        let bytes = Bytes::copy_from_slice(&self.buffer[..head]);
        let Some(lexed) = Head::lex(&bytes) else { return Some(self.give_up(ParseError::NotSip)) };
        let length = match lexed.into_message(bytes, Framing::Stream) {
            Ok(message) => message.body().len(),
            Err(malformed) => match malformed.announced {
                Some(length) => length,
                None => return Some(self.close(malformed, self.buffer.clone().freeze())),
            },
        };
        self.needed = head + length;
        None
    }

    fn take_message(&mut self) -> Frame {
        let bytes = self.buffer.split_to(self.needed).freeze();
        self.needed = 0;
        self.searched = 0;
        // A copy of its own, so that a message kept does not keep the read buffer.
        let bytes = Bytes::copy_from_slice(&bytes);
        match Message::parse(bytes.clone()) {
            Ok(message) => Frame::Message(message),
            Err(malformed) => Frame::Malformed { malformed, bytes, close: false },
        }
    }

    fn give_up(&mut self, error: ParseError) -> Frame {
        let bytes = self.buffer.split().freeze();
        let parsed =
            Head::lex(&bytes).and_then(|head| head.into_message(bytes.clone(), Framing::Stream).err());
        let malformed = match parsed {
            Some(malformed) => Malformed { error, ..malformed },
            None => Malformed::unanswerable(error),
        };
        self.close(malformed, bytes)
    }

    fn close(&mut self, malformed: Malformed, bytes: Bytes) -> Frame {
        self.closed = true;
        self.buffer = BytesMut::new();
        Frame::Malformed { malformed, bytes, close: true }
    }
}
