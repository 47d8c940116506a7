//! Columns of computed width, as Go's `text/tabwriter` lays them out for Docker: a cell that a tab
//! ends is at least ten wide and has three spaces after the longest text of its column.

/// Lays out lines whose cells are divided by tabs. A column is a run of lines that have the cell.
#[must_use]
pub fn aligned(text: &str, least: usize, gap: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut from = 0;
        while from < lines.len() {
            let ends = |line: &Vec<&str>| line.len() > column + 1;
            let block = lines.iter().skip(from).take_while(|line| ends(line)).count();
            let cells = lines.iter().skip(from).take(block).filter_map(|line| line.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            // A column that is empty in all its lines takes no room.
            let width = if widest == 0 { 0 } else { (widest + gap).max(least) };
            for line in widths.iter_mut().skip(from).take(block) {
                if let Some(slot) = line.get_mut(column) {
                    *slot = width;
                }
            }
            from += block.max(1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        let last = cells.len().saturating_sub(1);
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            out.push_str(cell);
            if index < last {
                let missing = width.saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', missing));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let text = "ID\tNAME\tX\na\tlonger-than-ten\ty\né\tn\t\n";
        let expected = "ID        NAME              X\na         longer-than-ten   y\né         n                 \n";
        assert_eq!(aligned(text, 10, 3), expected);
        assert_eq!(aligned("", 10, 3), "");
        assert_eq!(aligned("alone\n", 10, 3), "alone\n");
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        assert_eq!(aligned("aaaa\tb\nx\nc\td\n", 0, 1), "aaaa b\nx\nc d\n");
    }
}
