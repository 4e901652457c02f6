"""Questions about batches: how a stream is cut into rows, and where padding is needed.

Batch size and sequence length always differ here: with equal ones rows and columns are mixed up unnoticed.
"""

from __future__ import annotations

from ulmfit.exercises.question import Choice, Number, Question, Usual, right, wrong

_STREAM = "A stream of 1,001 tokens, numbered from 0, is read with `bs=4` and `seq_len=10`. "

BATCHES: dict[str, Question] = {
    "q18": Number(
        f"{_STREAM}With which token does the **second row of the first batch** begin?",
        250,
        "The stream is cut into 4 mini-streams of (1001 - 1) // 4 = 250 tokens, one for each row; the second begins at 250.",
        (
            Usual(
                10,
                "Rows of a batch are not neighbours in the text. Token 10 is where row 1 goes on, in the *second batch*.",
            ),
            Usual(4, "The batch size counts rows; it is no distance in the text here."),
            Usual(
                251,
                "Tokens are numbered from 0, and one token is kept back as the last label: 1000 // 4.",
            ),
        ),
    ),
    "q19": Number(
        f"{_STREAM}With which token does the **first row of the second batch** begin?",
        10,
        "Row 1 goes on exactly where it ended, after tokens 0 to 9: its hidden state fits what comes.",
        (
            Usual(
                40,
                "That would be the text after all rows of batch 1, if these were neighbours. Row 1 reads mini-stream 1.",
            ),
            Usual(
                250, "There begins mini-stream 2, which is the second row of *every* batch's work."
            ),
            Usual(4, "A row moves on by `seq_len` tokens, not by `bs`."),
        ),
    ),
    "q20": Number(
        f"{_STREAM}How many batches are there in an epoch?",
        25,
        "Each of the 4 mini-streams has 250 tokens, read 10 at a time.",
        (
            Usual(100, "That many pieces of 10 there are, but 4 of them make one batch."),
            Usual(250, "That is the length of a mini-stream; a batch takes 10 columns of it."),
            Usual(101, "That many pieces of 10 there are, but 4 of them make one batch."),
        ),
    ),
    "q21": Choice(
        "Batches of 64 rows and 72 columns (fastai's default) are cut from a stream of 46,081 tokens. The first row of batch "
        "1 holds tokens 0 to 71. What do the second row of batch 1 and the first row of batch 2 begin with?",
        (
            wrong(
                "Tokens 72 and 4,608: row after row, batch after batch.",
                "Then each row would jump 4,608 tokens ahead from batch to batch, and the state carried over would be "
                "that of other text.",
            ),
            right(
                "Tokens 720 and 72: the start of mini-stream 2, and the continuation of mini-stream 1.",
                "46,080 // 64 = 720 tokens a row. (The question is often asked with 64 and 64; equal numbers hide "
                "which of them is meant.)",
            ),
            wrong(
                "Tokens 64 and 128: a row is as long as the batch has rows.",
                "Batch size and sequence length are two numbers: 64 rows, 72 columns.",
            ),
            wrong(
                "Tokens 72 and 720: row 2 goes on where row 1 ends.",
                "The other way round: row 1 of the *next batch* goes on where row 1 ended.",
            ),
        ),
    ),
    "q22": Choice(
        "Why must row r of a batch continue row r of the batch before?",
        (
            right(
                "Because the hidden state of row r is carried on into the next batch.",
                "It summarises what has been read in that row; so the model sees more than `seq_len` tokens, although the "
                "gradient stops at the edge of the batch.",
            ),
            wrong(
                "Because the documents of a row have the same label.",
                "A language model knows no labels of documents.",
            ),
            wrong(
                "It need not; the order of the rows makes no difference.",
                "For a model without memory that would be true. An LSTM would begin each batch with the wrong past.",
            ),
        ),
    ),
    "q23": Choice(
        "Why do classifier batches need padding, when those of a language model do not?",
        (
            wrong(
                "Recurrent networks need texts of a fixed length.",
                "They read any length. Only a *tensor* has to be rectangular.",
            ),
            right(
                "Each document keeps its own label and length, and several have to fit into one rectangle; a language model "
                "cuts one stream into equal rows.",
                "So documents of similar length are put together, and padding is masked out by the true lengths.",
            ),
            wrong(
                "Padding makes training more stable.",
                "It carries no information, and costs time. Badly masked, it even changes the answer.",
            ),
        ),
    ),
}
