mod answer;
mod extract;
mod windows;
