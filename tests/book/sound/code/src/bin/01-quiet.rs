//! Stage 01.
// ANCHOR: greet
fn greet(who: &str) {
    quiet(who);
}
// ANCHOR_END: greet

// ANCHOR: main
fn quiet(who: &str) {
    println!("psst, {who}");
}

fn main() {
    println!("hello");
    greet("you");
}
// ANCHOR_END: main
