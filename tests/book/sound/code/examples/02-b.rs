//! Exercise 2 of chapter 02.
fn greet(who: &str) {
    // louder
    let who = who.to_uppercase();
    println!("HEY, {who}!");
}

fn main() {
    println!("hello");
    greet("you");
}
