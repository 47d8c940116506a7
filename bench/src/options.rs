//! What is to be measured, and how often.

use std::path::PathBuf;

use anyhow::{Result, bail};
use isula_tests::programs::repository;

/// The parts, in the order in which they are measured.
pub const PARTS: [&str; 8] =
    ["single", "crowd", "floor", "scale", "images", "daemon", "counts", "sizes"];

const USAGE: &str = "usage: isula-bench [PART ...] [--quick] [--docs] [--only ENGINE,...] \
                     [--rounds N] [--crowd N] [--flat N] [--merge FILE ...]\nparts: ";

/// How the bench is to run.
pub struct Options {
    /// The parts to measure.
    pub parts: Vec<String>,
    /// Engines to compare; all that are installed when empty.
    pub engines: Vec<String>,
    /// Where the results go.
    pub output: PathBuf,
    /// Rounds of the operations of a single client.
    pub single: usize,
    /// How many clients make a crowd.
    pub clients: usize,
    /// Rounds of a crowd: of engines that are fast, and of the others.
    pub crowd: (usize, usize),
    /// Numbers of containers beside which operations are measured.
    pub others: Vec<usize>,
    /// Rounds of pulls and loads.
    pub images: usize,
    /// Rounds of create, start and remove that must leave the memory flat.
    pub flat: usize,
    /// Stopped containers that a daemon finds when it starts.
    pub stopped: usize,
    /// Seconds in which nothing may wake up.
    pub idle: u64,
    /// Nothing is measured: what these files have becomes one report.
    pub merge: Vec<PathBuf>,
}

impl Options {
    /// Understands the command line.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let words: Vec<String> = arguments.collect();
        let mut options = Self::of(words.iter().any(|word| word == "--quick"));
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut number = || -> Result<usize> {
                let value = words.next().and_then(|value| value.parse().ok());
                value.ok_or_else(|| anyhow::anyhow!("{word} needs a number"))
            };
            match word.as_str() {
                "--quick" => {}
                "--docs" => options.output = repository().join("docs/bench"),
                "--rounds" => options.single = number()?,
                "--flat" => options.flat = number()?,
                "--crowd" => {
                    let rounds = number()?;
                    options.crowd = (rounds, rounds);
                }
                "--merge" => options.merge = words.by_ref().map(PathBuf::from).collect(),
                "--only" => {
                    let names = words.next().unwrap_or_default();
                    options.engines = names.split(',').map(str::to_owned).collect();
                }
                part if PARTS.contains(&part) => options.parts.push(part.to_owned()),
                other => bail!("{other}: no such part or flag\n{USAGE}{}", PARTS.join(" ")),
            }
        }
        if options.parts.is_empty() {
            options.parts = PARTS.map(str::to_owned).to_vec();
        }
        Ok(options)
    }

    fn of(quick: bool) -> Self {
        let choose = |short: usize, long: usize| if quick { short } else { long };
        Self {
            parts: Vec::new(),
            engines: Vec::new(),
            output: repository().join("target/bench"),
            single: choose(5, 30),
            clients: 100,
            crowd: if quick { (1, 1) } else { (5, 3) },
            others: if quick { vec![0, 1, 10, 100] } else { vec![0, 1, 10, 100, 1000] },
            images: choose(1, 3),
            flat: choose(500, 20_000),
            stopped: choose(1000, 10_000),
            idle: if quick { 5 } else { 60 },
            merge: Vec::new(),
        }
    }

    /// Whether this part is asked for.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.iter().any(|one| one == part)
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, PARTS};

    fn parse(line: &str) -> anyhow::Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn nothing_asked_for_is_everything() {
        assert_eq!(parse("").unwrap().parts, PARTS);
        assert_eq!(parse("--quick").unwrap().parts, PARTS);
    }

    #[test]
    fn parts_engines_and_numbers_can_be_chosen() {
        let options = parse("single crowd --only isula,runc --rounds 7 --crowd 2").unwrap();
        assert_eq!(options.parts, ["single", "crowd"]);
        assert_eq!(options.engines, ["isula", "runc"]);
        assert_eq!((options.single, options.crowd), (7, (2, 2)));
    }

    #[test]
    fn what_is_unknown_is_named() {
        assert!(parse("singel").err().unwrap().to_string().starts_with("singel: no such part"));
        assert!(parse("--rounds").err().unwrap().to_string().contains("needs a number"));
    }
}
