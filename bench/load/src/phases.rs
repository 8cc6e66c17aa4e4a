//! The phases of the measurement.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::process::Command;

use crate::Options;
use crate::client::{Way, text};
use crate::numbers::{cpu, percentile};

/// Runs as many workers as `--connections` says until the time is over, and sums up what each of them timed.
async fn workers<W, F>(options: &Options, default: u64, work: W) -> io::Result<String>
where
    W: Fn(Instant) -> F,
    F: Future<Output = io::Result<Vec<Duration>>> + Send + 'static,
{
    let pid = options.text("pid").unwrap_or("").to_owned();
    let before = cpu(&pid)?;
    let from = Instant::now();
    let until = from + options.seconds()?;
    let tasks: Vec<_> =
        (0..options.number("connections", default)?).map(|_| tokio::spawn(work(until))).collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.map_err(io::Error::other)??);
    }
    let took = from.elapsed().as_secs_f64();
    let used = cpu(&pid)? - before;
    times.sort_unstable();
    let count = times.len() as f64;
    Ok(format!(
        "{{\"requests\":{},\"per_second\":{:.1},\"p50_us\":{:.1},\"p99_us\":{:.1},\"cpu_us\":{:.2}}}",
        times.len(),
        count / took,
        percentile(&times, 0.5),
        percentile(&times, 0.99),
        used * 1e6 / count.max(1.0),
    ))
}

/// Requests on connections that stay open.
pub(crate) async fn keep_alive(options: &Options) -> io::Result<String> {
    let way = Way::new(options)?;
    let path = options.text("path")?;
    let request = match usize::try_from(options.number("body", 0)?).unwrap_or(0) {
        0 => way.request(path, false),
        bytes => way.post(path, bytes),
    };
    // Opened before the clock runs, and warm.
    let mut clients = Vec::new();
    for _ in 0..options.number("connections", 16)? {
        let mut client = way.open().await?;
        for _ in 0..20 {
            client.ask(&request).await?;
        }
        clients.push(client);
    }
    let clients = std::cell::RefCell::new(clients);
    workers(options, 16, |until| {
        let client = clients.borrow_mut().pop();
        let request = request.clone();
        async move {
            let mut client = client.ok_or_else(|| io::Error::other("no connection is left"))?;
            let mut times = Vec::with_capacity(1 << 16);
            loop {
                let from = Instant::now();
                if from >= until {
                    return Ok(times);
                }
                client.ask(&request).await?;
                times.push(from.elapsed());
            }
        }
    })
    .await
}

/// A connection for each request: CONNECT, the handshakes, one GET, the end.
pub(crate) async fn new_connections(options: &Options) -> io::Result<String> {
    let way = Way::new(options)?;
    let request = way.request(options.text("path")?, true);
    for _ in 0..5 {
        way.open().await?.ask(&request).await?;
    }
    workers(options, 4, |until| {
        let (way, request) = (way.clone(), request.clone());
        async move {
            let mut times = Vec::new();
            loop {
                let from = Instant::now();
                if from >= until {
                    return Ok(times);
                }
                let mut client = way.open().await?;
                client.ask(&request).await?;
                times.push(from.elapsed());
                // How the other side ends it is its own affair.
                drop(client.bye().await);
            }
        }
    })
    .await
}

/// One large body.
pub(crate) async fn download(options: &Options) -> io::Result<String> {
    let way = Way::new(options)?;
    let request = way.request(options.text("path")?, false);
    let mut client = way.open().await?;
    let pid = options.text("pid").unwrap_or("").to_owned();
    let before = cpu(&pid)?;
    let from = Instant::now();
    let bytes = client.ask(&request).await?;
    let took = from.elapsed().as_secs_f64();
    let used = cpu(&pid)? - before;
    let mib = bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "{{\"mib\":{mib:.0},\"mib_per_second\":{:.1},\"cpu_ms_per_mib\":{:.3}}}",
        mib / took,
        used * 1e3 / mib
    ))
}

/// One large body of a request.
pub(crate) async fn upload(options: &Options) -> io::Result<String> {
    let way = Way::new(options)?;
    let piece = text(1 << 20);
    let mib = usize::try_from(options.number("mib", 256)?).unwrap_or(0);
    let mut client = way.open().await?;
    let pid = options.text("pid").unwrap_or("").to_owned();
    let before = cpu(&pid)?;
    let from = Instant::now();
    client.send(&way.post_head(options.text("path")?, mib << 20)).await?;
    for _ in 1..mib {
        client.send(&piece).await?;
    }
    client.ask(&piece).await?;
    let took = from.elapsed().as_secs_f64();
    let used = cpu(&pid)? - before;
    let mib = mib as f64;
    Ok(format!(
        "{{\"mib\":{mib:.0},\"mib_per_second\":{:.1},\"cpu_ms_per_mib\":{:.3}}}",
        mib / took,
        used * 1e3 / mib
    ))
}

/// Many sessions that are open and idle, for the memory that they cost.
pub(crate) async fn idle(options: &Options) -> io::Result<String> {
    let way = Way::new(options)?;
    let request = way.request(options.text("path")?, false);
    let mut clients = Vec::new();
    for _ in 0..options.number("connections", 1000)? {
        let mut client = way.open().await?;
        client.ask(&request).await?;
        clients.push(client);
    }
    Ok(format!("{{\"open\":{}}}", clients.len()))
}

/// Starts a proxy, and times when it listens and when the first answer is there.
pub(crate) async fn start(options: &Options) -> io::Result<String> {
    let mut words = options.rest.iter();
    let program = words.next().ok_or_else(|| io::Error::other("the command of the proxy is missing"))?;
    let from = Instant::now();
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let limit = from + Duration::from_secs(30);
    let way = loop {
        // The CA's file is there only when the proxy is; so the way is found again each time.
        let listening = match options.text("proxy").or_else(|_| options.text("to")) {
            Ok(address) => TcpStream::connect(address).await.is_ok(),
            Err(error) => return Err(error),
        };
        if listening {
            break Way::new(options)?;
        }
        if Instant::now() > limit || child.try_wait()?.is_some() {
            return Err(io::Error::other("the proxy does not listen"));
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    };
    let listening = from.elapsed();
    let request = way.request(options.text("path")?, true);
    loop {
        let answer = match way.open().await {
            Ok(mut client) => client.ask(&request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => break,
            Err(error) if Instant::now() > limit => {
                return Err(io::Error::other(format!("no answer from {}: {error}", way.address())));
            }
            Err(_) => tokio::time::sleep(Duration::from_micros(200)).await,
        }
    }
    let answered = from.elapsed();
    child.kill().await?;
    Ok(format!(
        "{{\"listening_ms\":{:.2},\"first_answer_ms\":{:.2}}}",
        listening.as_secs_f64() * 1e3,
        answered.as_secs_f64() * 1e3
    ))
}
