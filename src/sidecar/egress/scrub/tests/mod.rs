mod coding;
mod fixture;
mod frames;
mod response;
mod stream;
mod unpack;
