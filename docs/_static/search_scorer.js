// Guides and tutorials come before the reference: whoever searches for "early stopping" wants to know how.
var Scorer = {
  score: ([docname, title, anchor, description, score, filename, kind]) => {
    const orders = [
      [/^howto\/(?!index)/, 45],
      [/^tutorials\/|^five_minutes|^install/, 20],
      [/^coming_from/, 10],
      [/^api\//, 0],
    ];
    const order = orders.find(([pattern]) => pattern.test(docname));
    return score + (order ? order[1] : 5);
  },
  objNameMatch: 25,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
