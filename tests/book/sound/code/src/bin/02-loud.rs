//! Stage 02.
// ANCHOR: greet
fn greet(who: &str) {
    // louder
    let who = who.to_uppercase(); // 1
    println!("HEY, {who}"); // 2
}
// ANCHOR_END: greet

fn main() {
    println!("hello");
    greet("you");
}
