mod authority;
mod fixture;
mod handshake;
mod recent;
mod roots;
mod truststore;
