INSERT INTO crystal.i_scores (scoreid, inspectid, score, scoredate, imagename, scoredby) VALUES (crystal.seq_jtng_score_id.nextval, :inspectid, :score, :scoredate, :imagename, :scoredby) RETURNING crystal.i_scores.scoreid INTO :ret_0;

