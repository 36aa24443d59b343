//! Forms of lists. MXNet's form is what `im2rec.py` of MXNet 1.9 writes, Caffe's what `convert_imageset` reads, and CSV's quotes
//! are those of Python 3.11's `csv` module.

use super::*;

/// The paths and labels of a list.
fn read(text: &str, is_csv: bool) -> Result<Vec<(String, Option<String>)>, String> {
    let (form, heading) = Form::of(text.as_bytes(), is_csv)?;
    let entry = |line| {
        let (path, label) = form.entry(line)?;
        Ok((String::from_utf8(path.into_owned()).unwrap(), label.map(Cow::into_owned)))
    };
    lines(text.as_bytes()).skip(heading.into()).map(|(_, line)| entry(line)).collect()
}

fn pair(path: &str, label: &str) -> (String, Option<String>) {
    (path.to_owned(), Some(label.to_owned()).filter(|label| !label.is_empty()))
}

#[test]
fn every_form_gives_the_same_entries() {
    let expected = [pair("d/a.jpg", "3"), pair("d/b c.png", "12"), pair("e.jpg", "")];
    for (text, is_csv) in [
        ("d/a.jpg\t3\nd/b c.png\t12\ne.jpg\t-1\n", false),
        ("\u{feff}d/a.jpg\t3\r\nd/b c.png\t12\r\ne.jpg\r\n", false),
        ("d/a.jpg\t3\rd/b c.png\t12\re.jpg", false),
        ("path\tlabel\nd/a.jpg\t3\nd/b c.png\t12\ne.jpg\t\n", false),
        ("d/a.jpg 3\nd/b c.png 12\ne.jpg -1\n", false),
        ("d/a.jpg,3\n\"d/b c.png\",12\ne.jpg,\n", false),
        ("\u{feff}filename,label\nd/a.jpg,3.0\n\"d/b c.png\",\"12\"\ne.jpg,-1.0\n", true),
        ("label,width,image\n3,10,d/a.jpg\n12,10,d/b c.png\n,10,e.jpg\n", true),
        ("0\t3.000000\td/a.jpg\n1\t12.000000\td/b c.png\n2\t-1.000000\te.jpg\n", false),
    ] {
        assert_eq!(read(text, is_csv).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn paths_alone_may_hold_spaces_commas_and_numbers() {
    let text = "a, b.jpg\nphoto 1.jpg\nphoto 2\nc.jpg\n";
    let paths: Vec<_> = read(text, false).unwrap().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["a, b.jpg", "photo 1.jpg", "photo 2", "c.jpg"]);
}

#[test]
fn quotes_keep_commas_and_double_quotes_stand_for_one() {
    assert_eq!(csv_fields(b"\"a,\"\"b\"\"\",c,").unwrap(), [b"a,\"b\"".to_vec(), b"c".to_vec(), Vec::new()]);
    assert_eq!(csv_fields(b"\"a,b"), None);
}

#[test]
fn lines_of_no_form_are_refused() {
    let fail = |text: &str, is_csv| read(text, is_csv).unwrap_err();
    assert!(fail("a.jpg\tcat\tdog\n", false).contains("more than one tab"));
    assert!(fail("a.jpg,1,2\nb.jpg,1,2\n", true).contains("3 columns without a heading"));
    assert!(fail("name,x,y2\na.jpg,1,2\n", true).contains("expected one called label or class"));
    assert!(fail("a.jpg,1\nb.jpg,1\nc.jpg\n", true).contains("1 columns instead of 2"));
    assert!(fail("a.jpg 1\nb.jpg 2\nc.jpg x\n", false).contains("no number"));
    assert!(fail("a.jpg\t1\n\tdog\n", false).contains("no path"));
}
