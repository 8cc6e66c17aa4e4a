//! A proxy that relays bytes after CONNECT, and looks at nothing.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};

/// As large as a TLS record, so that a record is one read.
const BUFFER: usize = 16 << 10;

pub(crate) async fn serve(listen: &str) -> io::Result<String> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(async move { drop(relay(socket).await) });
    }
}

async fn relay(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let authority = head.split(' ').nth(1).unwrap_or_default();
    let mut upstream = TcpStream::connect(authority).await?;
    upstream.set_nodelay(true)?;
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional_with_sizes(&mut socket, &mut upstream, BUFFER, BUFFER).await?;
    Ok(())
}
