mod coding;
mod fixture;
mod response;
mod stream;
mod unpack;
