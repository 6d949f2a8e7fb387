//! A connection that is handed from one runtime to another: TLS begins on threads that may take their time, and goes on where
//! the calls are.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The connection. Between [`Movable::leave`] and [`Movable::arrive`] nothing can be read or written.
#[derive(Debug)]
pub struct Movable(Place);

#[derive(Debug)]
enum Place {
    Here(TcpStream),
    Between(std::net::TcpStream),
    Nowhere,
}

impl Movable {
    /// One that is on its way.
    pub fn leaving(stream: TcpStream) -> io::Result<Self> {
        stream.into_std().map(|stream| Self(Place::Between(stream)))
    }

    /// Leaves the runtime of this thread.
    pub fn leave(&mut self) -> io::Result<()> {
        self.0 = match mem::replace(&mut self.0, Place::Nowhere) {
            Place::Here(stream) => Place::Between(stream.into_std()?),
            other @ (Place::Between(_) | Place::Nowhere) => other,
        };
        Ok(())
    }

    /// Enters the runtime of this thread.
    pub fn arrive(&mut self) -> io::Result<()> {
        self.0 = match mem::replace(&mut self.0, Place::Nowhere) {
            Place::Between(stream) => Place::Here(TcpStream::from_std(stream)?),
            other @ (Place::Here(_) | Place::Nowhere) => other,
        };
        Ok(())
    }

    fn here(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.0 {
            Place::Here(stream) => Ok(Pin::new(stream)),
            Place::Between(_) | Place::Nowhere => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Movable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.here()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Movable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_shutdown(context)
    }
}
