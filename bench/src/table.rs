//! The table that is printed: medians, side by side.

use std::fmt;

use crate::Cost;

/// Rows in the order in which they first appeared.
#[derive(Default)]
pub struct Table {
    rows: Vec<(String, Vec<Cost>, Vec<Cost>)>,
}

impl Table {
    /// Adds one measurement of `who` (`isula` or `runc`) to a row.
    pub fn add(&mut self, row: &str, who: &str, cost: Cost) {
        let at = self.rows.iter().position(|(name, ..)| name == row).unwrap_or_else(|| {
            self.rows.push((row.to_owned(), Vec::new(), Vec::new()));
            self.rows.len() - 1
        });
        if let Some((_, ours, theirs)) = self.rows.get_mut(at) {
            if who == "isula" { ours.push(cost) } else { theirs.push(cost) }
        }
    }
}

/// The median; nothing of nothing.
fn median(costs: &[Cost], of: fn(&Cost) -> f64) -> Option<f64> {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| median, ms | isula wall | isula cpu | runc wall | runc cpu | wall, runc / isula |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for (name, ours, theirs) in &self.rows {
            let show =
                |value: Option<f64>| value.map_or("".to_owned(), |value| format!("{value:.1}"));
            let (wall, other) = (median(ours, |cost| cost.wall), median(theirs, |cost| cost.wall));
            let ratio = wall.zip(other).map(|(wall, other)| other / wall);
            writeln!(
                out,
                "| {name} | {} | {} | {} | {} | {} |",
                show(wall),
                show(median(ours, |cost| cost.cpu)),
                show(other),
                show(median(theirs, |cost| cost.cpu)),
                show(ratio),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::Cost;

    #[test]
    fn a_row_shows_the_medians_of_both_sides() {
        let mut table = Table::default();
        for wall in [3.0, 1.0, 2.0] {
            table.add("start", "isula", Cost { wall, cpu: wall * 2.0 });
            table.add("start", "runc", Cost { wall: wall * 10.0, cpu: wall });
        }
        assert!(table.to_string().contains("| start | 2.0 | 4.0 | 20.0 | 2.0 | 10.0 |"), "{table}");
    }
}
