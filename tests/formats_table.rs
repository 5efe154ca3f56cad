//! Text tables: the same counts whatever stands between the fields and beside the numbers, and every fault an error with its line and column.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use flate2::Compression;
use flate2::write::GzEncoder;
use scdiva::cells::{CellColumn, CellMatrix, Vocabulary};
use scdiva::read::{self, Files, OpenOptions};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

const GENES: usize = 4;

fn vocabulary() -> Vocabulary {
    let mut text = "id\tsymbol\tensembl_id\tentropy\n".to_owned();
    for gene in 0..GENES {
        writeln!(text, "{}\tGENE{gene}\tENSG{gene:011}\t0.5", 100 + gene).unwrap();
    }
    Vocabulary::parse("vocab.tsv", text.as_bytes(), 120, &[]).unwrap()
}

fn open(text: impl Into<Vec<u8>>) -> scdiva::Result<Box<dyn CellMatrix>> {
    let files = Files::one("counts.txt", Arc::new(text.into()));
    read::open(&files, &OpenOptions::default(), Some(&vocabulary()))
}

fn dense(matrix: &dyn CellMatrix) -> Vec<Vec<f32>> {
    let rows = matrix.read_rows(0..matrix.n_cells()).unwrap();
    let row = |row| {
        let mut dense = vec![0.0; matrix.n_genes()];
        let (genes, values) = rows.row(row);
        genes
            .iter()
            .zip(values)
            .for_each(|(&gene, &value)| dense[gene as usize] += value);
        dense
    };
    (0..rows.n_rows()).map(row).collect()
}

/// What one way of writing the same table is expected to say.
struct Case {
    text: &'static str,
    matrix: &'static str,
    notes: &'static [&'static str],
    gene_columns: &'static [&'static str],
    cell_columns: &'static [&'static str],
}

const BY_CELL: Case = Case {
    text: "",
    matrix: "cells × genes",
    notes: &[],
    gene_columns: &["first line"],
    cell_columns: &[],
};
const BY_GENE: Case = Case {
    matrix: "genes × cells",
    gene_columns: &["first column"],
    ..BY_CELL
};

const SAME: [Case; 35] = [
    Case {
        text: "c,GENE0,GENE1,GENE2,GENE3\na,1.5,0,20,0\nb,0,0,3,4\n",
        ..BY_CELL
    },
    Case {
        text: "c\tGENE0\tGENE1\tGENE2\tGENE3\na\t1.5\t0\t20\t0\nb\t0\t0\t3\t4",
        ..BY_CELL
    },
    Case {
        text: "c;GENE0;GENE1;GENE2;GENE3\r\na;1.5;0;20;0\r\nb;0;0;3;4\r\n",
        ..BY_CELL
    },
    Case {
        text: "c,GENE0,GENE1,GENE2,GENE3\ra,1.5,0,20,0\rb,0,0,3,4\r",
        ..BY_CELL
    },
    Case {
        text: "\u{feff}c,GENE0,GENE1,GENE2,GENE3\na,1.5,0,20,0\n\nb,0,0,3,4\n\n",
        ..BY_CELL
    },
    Case {
        text: "\"c\",\"GENE0\",\"GENE1\",\"GENE2\",\"GENE3\"\n\"a\",\"1.5\",\"0\",20,0\n\"b\",0,0,3,4\n",
        ..BY_CELL
    },
    Case {
        text: "  c   GENE0 GENE1 GENE2 GENE3\n  a   1.5 0 20 0\n  b   0 0 3 4\n",
        ..BY_CELL
    },
    Case {
        text: "\"c\", \"GENE0\", \"GENE1\", \"GENE2\", \"GENE3\"\n\"a\", 1.5, 0, \"20\", 0\n \"b\", 0, 0, 3, 4\n",
        ..BY_CELL
    },
    Case {
        text: "sep=;\r\nc;GENE0;GENE1;GENE2;GENE3\r\na;1.5;0;20;0\r\nb;0;0;3;4\r\n",
        ..BY_CELL
    },
    Case {
        text: "# by hand\rc,GENE0,GENE1,GENE2,GENE3\ra,1.5,0,20,0\rb,0,0,3,4\r",
        notes: &["1 lines before the header begin with # and were left out."],
        ..BY_CELL
    },
    // As R writes it: a header that is one shorter, spaces between.
    Case {
        text: "\"GENE0\" \"GENE1\" \"GENE2\" \"GENE3\"\n\"a\" 1.5 0 20 0\n\"b\" 0 0 3 4\n",
        ..BY_CELL
    },
    Case {
        text: "      GENE0 GENE1 GENE2 GENE3  \n a      1.5     0   20  0  \r\n b      0   0     3    4",
        ..BY_CELL
    },
    Case {
        text: "GENE0\tGENE1\tGENE2\tGENE3\na\t1.5\t0\t2e1\t0\nb\t0\t0\t3\t4\n",
        ..BY_CELL
    },
    Case {
        text: "c,GENE0,GENE1,GENE2,GENE3,\na,1.5,0,20,0,\nb,0,0,3,4,\n",
        ..BY_CELL
    },
    // Sums, spike-ins and antibodies among the genes.
    Case {
        text: "gene\ta\tb\nGENE0\t1.5\t0\n__no_feature\t900\t0\nGENE1\t0\t0\nGENE2\t20\t3\nGENE3\t0\t4\nTotal\t21.5\t7\nERCC-00002\t7\t7\nN_unmapped\t1\t1\n",
        notes: &["left out, being no genes by their names: 4 (__no_feature, Total, ERCC-00002, …)"],
        ..BY_GENE
    },
    Case {
        text: "c,GENE0,CD3:UCHT1|CD3E|AHS0231|pAbO,GENE1,CD4_TotalSeqB,GENE2,GENE3\na,1.5,7,0,8,20,0\nb,0,7,0,8,3,4\n",
        notes: &["left out, being no genes by their names: 2 (CD3:UCHT1|CD3E|AHS0231|pAbO, CD4_TotalSeqB)"],
        ..BY_CELL
    },
    // A delimiter at the end of the rows alone, whatever names the first column.
    Case {
        text: "c,GENE0,GENE1,GENE2,GENE3\na,1.5,0,20,0,\nb,0,0,3,4,\n",
        ..BY_CELL
    },
    Case {
        text: "GENE\ta\tb\nGENE0\t1.5\t0\t\nGENE1\t0\t0\t\nGENE2\t20\t3\t\nGENE3\t0\t4\t\n",
        ..BY_GENE
    },
    // As R writes a frame with a column of names that are not its rows'.
    Case {
        text: "gene_name a b\nX0 GENE0 1.5 0\nX1 GENE1 0 0\nX2 GENE2 20 3\nX3 GENE3 0 4\n",
        notes: &["No cells, but more names of the genes: the columns gene_name."],
        gene_columns: &["first column", "gene_name"],
        ..BY_GENE
    },
    Case {
        text: "c;GENE0;GENE1;GENE2;GENE3\na;1,5;0;20,00;0\nb;0;0;3;4\n",
        notes: &["The numbers have a comma before the decimals."],
        ..BY_CELL
    },
    Case {
        text: "# made by hand\n# twice, with, commas\nc,GENE0,GENE1,GENE2,GENE3\na,1.5,0,20,0\nb,0,0,3,4\n",
        notes: &["2 lines before the header begin with # and were left out."],
        ..BY_CELL
    },
    Case {
        text: "#c,GENE0,GENE1,GENE2,GENE3\na,1.5,0,20,0\nb,0,0,3,4\n",
        ..BY_CELL
    },
    Case {
        text: "c,n_counts,cell_type,GENE0,GENE1,GENE2,GENE3,louvain\na,21.5,T,1.5,0,20,0,0\nb,7,NA,0,0,3,4,1\n",
        notes: &["No genes, but what the file says about its cells: the columns n_counts, cell_type, louvain."],
        cell_columns: &["n_counts", "cell_type", "louvain"],
        ..BY_CELL
    },
    Case {
        text: "c,GENE0,GENE1,nCount_RNA,GENE3\na,1.5,0,20,0\nb,0,0,3,4\n",
        notes: &["Read as genes, since they stand between genes: the columns nCount_RNA."],
        ..BY_CELL
    },
    // What stands farther out than such a column is none either.
    Case {
        text: "c,GENE0,GENE1,GENE2,GENE3,nCount_ADT,mine,RNA_snn_res.0.5,type\na,1.5,0,20,0,7,8,9,T\nb,0,0,3,4,1,1,1,B\n",
        notes: &["No genes, but what the file says about its cells: the columns nCount_ADT, mine, RNA_snn_res.0.5, type."],
        cell_columns: &["nCount_ADT", "mine", "RNA_snn_res.0.5", "type"],
        ..BY_CELL
    },
    Case {
        text: "c,age,total_counts_mt,pct_mito,S_score,GENE0,GENE1,GENE2,GENE3\na,3,2,1,0,1.5,0,20,0\nb,3,2,1,0,0,0,3,4\n",
        notes: &["No genes, but what the file says about its cells: the columns age, total_counts_mt, pct_mito, S_score."],
        cell_columns: &["age", "total_counts_mt", "pct_mito", "S_score"],
        ..BY_CELL
    },
    Case {
        text: "Hugo_Symbol\tEntrez_Gene_Id\twidth\ta\tb\nGENE0\t11\t1\t1.5\t0\nGENE1\t12\t1\t0\t0\n\
               GENE2\t13\t1\t20\t3\nGENE3\t14\t1\t0\t4\n",
        notes: &["No cells, and left out: the columns Entrez_Gene_Id, width."],
        ..BY_GENE
    },
    Case {
        text: "g,a,b\nGENE0,1.5,0\nGENE1,0,0\nGENE2,20,3\nGENE3,0,4\n",
        ..BY_GENE
    },
    Case {
        text: "a\tb\nGENE0\t1.5\t0\nGENE1\t0\t0\nGENE2\t20\t3\nGENE3\t0\t4\n",
        ..BY_GENE
    },
    Case {
        text: "g a b\nGENE0 1.5 0\nGENE1 0 0\nGENE2 20 3\nGENE3 0 4\n",
        ..BY_GENE
    },
    Case {
        text: "gene_id\tgene_name\ta\tb\nX0\tGENE0\t1.5\t0\nX1\tGENE1\t0\t0\nX2\tGENE2\t20\t3\nX3\t\t0\t4\n",
        notes: &["No cells, but more names of the genes: the columns gene_name."],
        gene_columns: &["first column", "gene_name"],
        ..BY_GENE
    },
    Case {
        text: ",symbol,a,b\n0,GENE0,1.5,0\n1,GENE1,0,0\n2,GENE2,20,3\n3,GENE3,0,4\n",
        notes: &["No cells, but more names of the genes: the columns symbol."],
        gene_columns: &["first column", "symbol"],
        ..BY_GENE
    },
    Case {
        text: "# featureCounts\nGeneid\tChr\tStart\tLength\ta\tb\nGENE0\tchr1\t5;8\t7\t1.5\t0\nGENE1\tchr2\t9\t7\t0\t0\n\
               GENE2\tchrX\t5\t7\t20\t3\nGENE3\tchrX\t5\t7\t0\t4\n",
        notes: &[
            "1 lines before the header begin with # and were left out.",
            "No cells, and left out: the columns Chr, Start, Length.",
        ],
        ..BY_GENE
    },
    Case {
        text: "g,a,b,description\nGENE0,1.5,0,\nGENE1,0,0,\"a, \"\"quoted\"\"\nname\"\nGENE2,20,3,x\nGENE3,0,4,x\n",
        notes: &["No cells, but more names of the genes: the columns description."],
        gene_columns: &["first column", "description"],
        ..BY_GENE
    },
    Case {
        text: "GENE\ta\tb\nGENE0\t1.5\t0\nGENE1\t0\t0\nGENE2\t20\t3\nGENE3\t0\t4\n",
        ..BY_GENE
    },
];

#[test]
fn the_same_table_reads_the_same_however_it_is_written() {
    for case in SAME {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(case.text.as_bytes()).unwrap();
        for bytes in [case.text.as_bytes().to_vec(), encoder.finish().unwrap()] {
            let matrix = open(bytes).unwrap();
            let text = case.text;
            assert_eq!(
                dense(matrix.as_ref()),
                [[1.5, 0.0, 20.0, 0.0], [0.0, 0.0, 3.0, 4.0]],
                "{text}"
            );
            assert_eq!(matrix.cell_names(0..2).unwrap(), ["a", "b"], "{text}");
            assert_eq!(
                (matrix.matrix(), matrix.notes()),
                (
                    case.matrix,
                    &case.notes.iter().map(|&note| note.to_owned()).collect::<Vec<_>>()[..]
                ),
                "{text}"
            );
            let names: Vec<&str> = matrix.gene_columns().iter().map(|column| column.name.as_str()).collect();
            assert_eq!(
                (names.as_slice(), matrix.cell_columns().len()),
                (case.gene_columns, case.cell_columns.len()),
                "{text}"
            );
            assert_eq!(matrix.cell_columns(), case.cell_columns, "{text}");
            assert!(
                matrix.gene_columns().iter().all(|column| column.genes.len() == GENES),
                "{text}"
            );
        }
    }
    let formats: Vec<String> = [0, 1, 2, 6]
        .map(|i: usize| open(SAME[i].text).unwrap().format().to_owned())
        .to_vec();
    let between = ["commas", "tabs", "semicolons", "spaces"].map(|between| format!("text table, {between} between fields"));
    assert_eq!(formats, between);
}

#[test]
fn columns_beside_the_counts_keep_their_values() {
    let matrix = open("c,n_counts,type,GENE0,GENE1\na,21.5,T,1,0\nb,,NA,2,0\nc,7,B,3,0\nd,8,T,3,0\n").unwrap();
    let column = |name| matrix.cell_column(name).unwrap();
    let Some(CellColumn::Numbers(numbers)) = column("n_counts") else {
        panic!("numbers")
    };
    assert_eq!((numbers[0], numbers[1].is_nan(), numbers[2]), (21.5, true, 7.0));
    let wanted = CellColumn::Categories {
        codes: vec![Some(0), None, Some(1), Some(0)],
        names: vec!["T".to_owned(), "B".to_owned()],
    };
    assert_eq!((column("type"), column("GENE0")), (Some(wanted), None));
}

/// Values of a table that is large enough for several stored places and reads of the file.
fn value(cell: usize, gene: usize) -> usize {
    if (cell * 7 + gene).is_multiple_of(5) {
        (cell + gene) % 1000
    } else {
        0
    }
}

#[test]
fn any_rows_of_a_long_table_are_read_whichever_side_the_genes_are_on() {
    let (n_cells, n_genes) = (3000, 100);
    let (cells, genes): (Vec<_>, Vec<_>) = (
        (0..n_cells).map(|i| format!("cell\"\"{i}")).collect(),
        (0..n_genes).map(|i| format!("GENE{i}")).collect(),
    );
    let table = |rows: &[String], columns: &[String], at: &dyn Fn(usize, usize) -> usize| {
        let mut text = format!("x,\"{}\"\n", columns.join("\",\""));
        for (row, name) in rows.iter().enumerate() {
            write!(text, "\"{name}\"").unwrap();
            (0..columns.len()).for_each(|column| write!(text, ",{}", at(row, column)).unwrap());
            text.push('\n');
        }
        text
    };
    let by_cell = table(&cells, &genes, &value);
    let by_gene = table(&genes, &cells, &|gene, cell| value(cell, gene));
    for (text, orientation) in [(by_cell, "cells × genes"), (by_gene, "genes × cells")] {
        let matrix = open(text).unwrap();
        assert_eq!(
            (matrix.n_cells(), matrix.n_genes(), matrix.matrix()),
            (n_cells, n_genes, orientation)
        );
        for range in [0..n_cells, 31..33, 2999..3000, 1023..1026, 0..1, 64..64] {
            let rows = matrix.read_rows(range.clone()).unwrap();
            let names = matrix.cell_names(range.clone()).unwrap();
            assert_eq!((rows.n_rows(), names.len()), (range.len(), range.len()));
            for (row, cell) in range.enumerate() {
                let wanted: Vec<(u32, f32)> = (0..n_genes)
                    .map(|gene| (u32::try_from(gene).unwrap(), value(cell, gene) as f32))
                    .filter(|&(_, value)| value != 0.0)
                    .collect();
                let (genes, values) = rows.row(row);
                let found: Vec<_> = genes.iter().copied().zip(values.iter().copied()).collect();
                assert_eq!((found, &names[row]), (wanted, &format!("cell\"{cell}")), "{orientation}");
            }
        }
    }
}

#[test]
fn a_table_that_may_mean_two_things_is_refused_with_the_place() {
    let long = format!("c,GENE0\n\"{},1\n", "x".repeat(1 << 19));
    let wide = format!("c,{}\na,1\n", ",".repeat((1 << 24) + 1));
    for (text, problem) in [
        (
            "c;GENE0\na;1,234\nb;2,345\n",
            "line 2, column 2: `1,234` may be 1.234 or 1234; wanted a decimal point",
        ),
        (
            "c;GENE0\na;1,5\nb;2.5\n",
            "line 3, column 2 (b, GENE0): `2.5` has a decimal point, but the numbers before have a comma",
        ),
        (
            "c;GENE0\na;1.5\nb;2,55\n",
            "line 3, column 2 (b, GENE0): `2,55` has a decimal comma, but the numbers before have a point",
        ),
        (
            "c,GENE0\na,\"1,5\"\n",
            "line 2, column 2 (a, GENE0): `1,5` is not a number; wanted a number",
        ),
        // A gene is never taken for a column beside the counts, nor is what stands among numbers.
        ("c,x,GENE0\na,T,many\n", "line 2, column 3 (a, GENE0): `many` is not a number"),
        ("c,GENE0,x,GENE1\na,1,T,2\n", "line 2, column 3 (a, x): `T` is not a number"),
        ("c,GENE0,x\na,1,NA\nb,2,3\n", "line 2, column 3 (a, x): `NA` is not a number"),
        ("c,GENE0,GENE1\na,1,NA\n", "line 2, column 3 (a, GENE1): `NA` is not a number"),
        ("c,GENE0\n\"a,1\n", "line 2, column 1: a quote that is not closed"),
        (
            "c,GENE0\n\"a\"b,1\n",
            "line 2, column 1: something stands behind a closing quote",
        ),
        // Without names of the cells: a known gene heads the first column or begins the first line, or counts are called cells.
        (
            "GENE0,GENE1\n1,2\n3,0\n",
            "line 1, column 1: the table begins with the gene GENE0; wanted a column of cell names before the counts",
        ),
        (
            "OTHER,GENE1\n0,2\n3,0\n0,1\n",
            "line 1, column 1: the cells are called by numbers, two of them 0; wanted a column of cell names before the counts",
        ),
        (
            "GENE0,1,2\nGENE1,3,4\nGENE2,3,4\n",
            "line 1, column 1: the table begins with the gene GENE0; wanted a line of cell names before the counts",
        ),
        (
            "OTHER,0,2,0\nGENE1,3,4,5\n",
            "line 1, column 1: the cells are called by numbers, two of them 0; wanted a line of cell names before the counts",
        ),
        (
            "cell,gene,count\na,GENE0,1\na,GENE1,3\nb,GENE0,2\n",
            "line 1: a line for each gene of each cell; wanted a table of cells × genes, or of genes × cells",
        ),
        (
            "gene\tcell\tUMIs\nGENE0\ta\t1\n",
            "line 1: a line for each gene of each cell; wanted a table of cells × genes, or of genes × cells",
        ),
        // A header one shorter is R's, but only when it does not name the column of names.
        (
            "cell_id,GENE0,GENE1\na,1,2,3\nb,1,2,3\n",
            "line 2: 4 fields; wanted 3, a name and 2 numbers",
        ),
        (",GENE0,GENE1\na,1,2,3\n", "line 2: 4 fields; wanted 3, a name and 2 numbers"),
        ("c,GENE0\na\0,1\n", "line 1: not a text file"),
        ("#a\n#b", "line 2: no header after the lines that begin with #"),
        ("c,type\na,T\n", "table: 1 rows × 0 columns of numbers"),
        (&long, "line 2, column 1: a field of more than 64 KiB. Is a quote not closed?"),
        (&wide, "line 1, column 16777217: more than 16777216 columns"),
    ] {
        let error = open(text).map(|matrix| matrix.notes().join(" "));
        let error = error.map_or_else(|error| error.to_string(), |notes| format!("opened, {notes}"));
        assert!(error.starts_with(&format!("counts.txt: {problem}")), "{problem}: {error}");
    }
    let error = open(b"\xff\xfec\0".to_vec()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "counts.txt: line 1: text as UTF-16; save it as UTF-8, or as .csv");
}
