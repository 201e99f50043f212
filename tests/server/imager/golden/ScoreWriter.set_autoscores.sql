DELETE FROM crystal.i_autoscores WHERE crystal.i_autoscores.inspectid IN (:inspectid_1_1, :inspectid_1_2);

INSERT INTO crystal.i_autoscores (inspectid, xtal_rank_score, xtal_clear_score, xtal_good_bad_score) VALUES (:inspectid, :xtal_rank_score, :xtal_clear_score, :xtal_good_bad_score);

