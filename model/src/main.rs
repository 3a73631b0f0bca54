//! temp
use groupcache_model::{catalogue, model::Model, rules::{Rule, Rules}, search::Verdict};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let sc = catalogue::named(&a[1]).expect("scenario");
    let rules = match a.get(2).map(|s| s.as_str()) { None | Some("-") => Rules::FULL, Some(s) => s.split(',').fold(Rules::FULL, |r, s| r.without(Rule::named(s).expect("rule"))) };
    let limit = a.get(3).map_or(20_000_000, |s| s.parse().unwrap());
    let t = std::time::Instant::now();
    let o = Model { scenario: sc, rules, to_the_end: std::env::var("END").is_ok() }.search(limit, |_| {});
    println!("{} states {} depth {} succ {} bars {} {:?} {:.2} M/s", sc.name, o.states, o.depth, o.successes, o.after_bars, t.elapsed(), o.states as f64 / 1e6 / t.elapsed().as_secs_f64());
    match o.verdict { Verdict::Exhausted => println!("exhausted"), Verdict::CutShort => println!("cut short"),
      Verdict::Broken(v, way) => { for (i,(s, w)) in way.iter().enumerate() { println!("{:3} {:?}", i+1, s); if a.len() > 4 { println!("      {:?}", w); } } println!("{v:?}"); } }
}
