//! The limits of egress; the defaults suit one agent.

use std::time::Duration;

/// Every limit that can be set.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Limits {
    /// The most connections of the agent at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 16_384)]
    pub(crate) connections: usize,
    /// The most HTTP/2 streams on one connection at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 256)]
    pub(crate) streams: u32,
    /// The most bytes of a request's or response's head
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    pub(crate) head_bytes: usize,
    /// The most header fields of a request or response
    #[arg(long, value_name = "NUMBER", default_value_t = 128)]
    pub(crate) headers: usize,
    /// How long a CONNECT line may take to arrive, in milliseconds
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = milliseconds)]
    pub(crate) connect_line: Duration,
    /// How long a TLS handshake may take, in milliseconds
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = milliseconds)]
    pub(crate) handshake: Duration,
    /// How long a request's head may take from its first byte, in milliseconds
    #[arg(long, value_name = "MS", default_value = "30000", value_parser = milliseconds)]
    pub(crate) head: Duration,
    /// How long a connection may wait for its next request, in milliseconds
    #[arg(long, value_name = "MS", default_value = "300000", value_parser = milliseconds)]
    pub(crate) idle: Duration,
    /// How long a body may pause, in either direction, in milliseconds
    #[arg(long, value_name = "MS", default_value = "600000", value_parser = milliseconds)]
    pub(crate) stall: Duration,
    /// How long an agent that shut its sending side down waits for the next byte of its answer, in milliseconds
    #[arg(long, value_name = "MS", default_value = "30000", value_parser = milliseconds)]
    pub(crate) half_closed: Duration,
    /// How long dialling an upstream may take, names and TLS included, in milliseconds
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = milliseconds)]
    pub(crate) dial: Duration,
    /// How long an upstream may take to begin its answer, in milliseconds
    #[arg(long, value_name = "MS", default_value = "300000", value_parser = milliseconds)]
    pub(crate) answer: Duration,
    /// How long the second scanner may take for a verdict, the wait for its turn included, in milliseconds
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = milliseconds)]
    pub(crate) scan: Duration,
    /// The most questions to the second scanner at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 32)]
    pub(crate) scans: usize,
    /// How long open requests may take to end after SIGTERM, in milliseconds
    #[arg(long, value_name = "MS", default_value = "8000", value_parser = milliseconds)]
    pub(crate) drain: Duration,
}

/// The longest time limit, which no one means; beyond it an addition to the clock could overflow.
const LONGEST: Duration = Duration::from_hours(30 * 24);

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number: u64 = text.parse().map_err(|error| format!("{error}"))?;
    let duration = Duration::from_millis(number);
    if duration.is_zero() || duration > LONGEST {
        return Err(format!("a time limit is between 1 and {} milliseconds", LONGEST.as_millis()));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::milliseconds;

    #[test]
    fn a_time_limit_can_be_added_to_the_clock() {
        assert_eq!(milliseconds("250"), Ok(Duration::from_millis(250)));
        for text in ["", "0", "-1", "1.5", "18446744073709551615"] {
            assert!(milliseconds(text).is_err(), "{text:?}");
        }
    }
}
