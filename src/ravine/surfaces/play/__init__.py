"""The playground: a page in the browser that asks this machine for paths. An extra: `ravine[play]`.

expression   a function that somebody typed, read and never run
controls     what the page moves, from typed fields
asked        questions of the page, checked and bounded
answers      surfaces, paths, tuned rates and maps as numbers
server       the page and the answers, for this machine only
export       the page with its paths in one file
cli          `ravine play`
page/        what the browser runs: plain modules, nothing built
"""
