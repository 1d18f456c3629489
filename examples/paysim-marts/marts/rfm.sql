-- Customers that pay, by recency, frequency and value (RFM): each scored from 1 to 5 by quintiles, and their segment.
--
-- customer: The payer.
-- recency_days: From its last payment to the last day of the data.
-- frequency: How many payments it sent.
-- monetary: What it sent.
-- r: 5 for the fifth that paid last. Equal values have equal scores, by the middle of where they stand; so below, too.
-- f: 5 for the fifth that paid most often; in PaySim nearly all paid once, and have 3.
-- m: 5 for the fifth that sent most.
-- fm: The mean of f and m, rounded up.
-- segment: One of 11, by r and fm.
WITH scored AS (
    SELECT
        payer AS customer, date_diff('day', max(day), (SELECT max(day) FROM payments)) AS recency_days,
        count(*) AS frequency, sum(amount)::DECIMAL(18, 2) AS monetary
    FROM payments
    GROUP BY payer
), quintiles AS (
    SELECT
        *, (1 + floor(2.5 * ((rank() OVER paid_last - 1) / count(*) OVER () + cume_dist() OVER paid_last)))::INTEGER AS r,
        (1 + floor(2.5 * ((rank() OVER paid_often - 1) / count(*) OVER () + cume_dist() OVER paid_often)))::INTEGER AS f,
        (1 + floor(2.5 * ((rank() OVER sent_most - 1) / count(*) OVER () + cume_dist() OVER sent_most)))::INTEGER AS m
    FROM scored
    WINDOW paid_last AS (ORDER BY recency_days DESC), paid_often AS (ORDER BY frequency), sent_most AS (ORDER BY monetary)
)
SELECT
    *, (f + m + 1) // 2 AS fm,
    CASE
        WHEN r >= 4 AND fm >= 4 THEN 'Champions'
        WHEN (r >= 4 AND fm = 3) OR (r = 3 AND fm >= 4) THEN 'Loyal Customers'
        WHEN r >= 4 AND fm = 2 THEN 'Potential Loyalists'
        WHEN r = 5 THEN 'New Customers'
        WHEN r = 4 THEN 'Promising'
        WHEN r = 3 AND fm = 3 THEN 'Need Attention'
        WHEN r = 3 THEN 'About To Sleep'
        WHEN r = 1 AND fm >= 4 THEN 'Cannot Lose Them'
        WHEN fm >= 3 THEN 'At Risk'
        WHEN r = 2 THEN 'Hibernating'
        ELSE 'Lost'
    END AS segment
FROM quintiles
